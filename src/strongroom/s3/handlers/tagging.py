"""Tags of an object: GetObjectTagging, PutObjectTagging, DeleteObjectTagging."""

from __future__ import annotations

from strongroom.s3.call import Answer, Call
from strongroom.s3.naming import check_version
from strongroom.s3.shapes import (
    DeleteObjectTaggingRequest,
    GetObjectTaggingOutput,
    GetObjectTaggingRequest,
    PutObjectTaggingRequest,
    Tag,
)
from strongroom.s3.tags import format_tags, parse_tags
from strongroom.sealed.store import SealedStore


class TaggingHandlers:
    """Operations on an object's tags."""

    def __init__(self, objects: SealedStore) -> None:
        self._objects = objects

    async def get_object_tagging(self, call: Call, request: GetObjectTaggingRequest) -> Answer:
        """The tags of an object; an empty set if it has none."""
        check_version(request.version_id)
        pairs = parse_tags(await self._objects.tags(call.bucket, call.key))
        return Answer(GetObjectTaggingOutput(tag_set=[Tag(key=key, value=value) for key, value in pairs]))

    async def put_object_tagging(self, call: Call, request: PutObjectTaggingRequest) -> Answer:
        """Replace the tags of an object."""
        check_version(request.version_id)
        text, count = format_tags([(tag.key, tag.value) for tag in request.tagging.tag_set])
        await self._objects.set_tags(call.bucket, call.key, text, count)
        return Answer()

    async def delete_object_tagging(self, call: Call, request: DeleteObjectTaggingRequest) -> Answer:
        """Remove the tags of an object."""
        check_version(request.version_id)
        await self._objects.set_tags(call.bucket, call.key, "", 0)
        return Answer()
