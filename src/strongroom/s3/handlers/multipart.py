"""Multipart uploads: CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload, ListParts,
ListMultipartUploads."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Sequence
from itertools import pairwise

from strongroom.s3 import checksums
from strongroom.s3.body import decoder_for
from strongroom.s3.call import Answer, Call
from strongroom.s3.checksums import Algorithm, ChecksumType
from strongroom.s3.describe import check_upload_headers, moment, quoted, set_checksum, set_part_checksum, stored_headers
from strongroom.s3.encryption import confirmed, key_of_upload, shown
from strongroom.s3.errors import S3Error
from strongroom.s3.naming import (
    INITIATOR,
    MAX_PARTS,
    OWNER,
    behind_marker,
    check_part_number,
    encode_name,
    page_size,
    part_marker,
)
from strongroom.s3.preconditions import write_precondition
from strongroom.s3.shapes import (
    AbortMultipartUploadRequest,
    CommonPrefix,
    CompletedPart,
    CompleteMultipartUploadOutput,
    CompleteMultipartUploadRequest,
    CreateMultipartUploadOutput,
    CreateMultipartUploadRequest,
    ListMultipartUploadsOutput,
    ListMultipartUploadsRequest,
    ListPartsOutput,
    ListPartsRequest,
    MultipartUpload,
    Part,
    UploadPartRequest,
)
from strongroom.s3.tags import parse_tagging_header
from strongroom.s3.upload import Integrity, announced_size
from strongroom.sealed.faults import (
    CustomerKeyNeeded,
    CustomerKeyNotApplicable,
    CustomerKeyWrong,
    NoSuchObject,
    NoSuchUpload,
    PartChanged,
)
from strongroom.sealed.metadata import ObjectChecksum
from strongroom.sealed.objects import ObjectInfo, Precondition, multipart_etag
from strongroom.sealed.store import SealedStore
from strongroom.sealed.uploads import PartInfo, UploadInfo
from strongroom.sealed.writing import Description

MIN_PART = 5 * 1024**2
"""The minimum bytes of a part, except for the last one (S3 User Guide, "Amazon S3 multipart upload limits")."""

_INITIATED = "x-amz-if-match-initiated-time"


class MultipartHandlers:
    """Operations on multipart uploads."""

    def __init__(self, objects: SealedStore) -> None:
        self._objects = objects
        self._uploads = objects.uploads

    async def create_multipart_upload(self, call: Call, request: CreateMultipartUploadRequest) -> Answer:
        """Open an upload."""
        headers = call.request.headers
        check_upload_headers(headers)
        kept = stored_headers(headers)
        tags = parse_tagging_header(headers.get("x-amz-tagging"))
        announced = checksums.multipart(headers)
        checksum = ObjectChecksum(announced[0], announced[1], "") if announced else None
        asked = call.encryption.protection()
        await self._check_before(call, write_precondition(headers.get("if-match"), headers.get("if-none-match")))
        protection = await self._objects.protection(call.bucket, asked)
        sealed_tags = await self._objects.seal_tags(call.bucket, call.key, protection, *tags)
        upload = await self._uploads.create(call.bucket, call.key, protection, Description(kept, checksum, sealed_tags))
        output = CreateMultipartUploadOutput(bucket=call.bucket, key=call.key, upload_id=upload.upload_id)
        if checksum:
            output.checksum_algorithm, output.checksum_type = checksum.algorithm, checksum.kind
        return Answer(output, confirmed(upload, asked), about=upload)

    async def upload_part(self, call: Call, request: UploadPartRequest) -> Answer:
        """Store a part."""
        headers = call.request.headers
        number = check_part_number(request.part_number)
        decoder = decoder_for(call.payload, headers)
        size = announced_size(decoder)
        integrity = Integrity(headers)
        customer_key = call.encryption.customer_key()
        with key_of_upload():
            upload, writer = await self._uploads.begin_part(
                call.bucket, call.key, request.upload_id, number, size, customer_key
            )
        try:
            integrity.agree(upload.checksum)
            writer.watch(integrity.wants_md5, integrity.hashers)
            await integrity.take(call.body, decoder, writer)
            entry, _ = await writer.commit(integrity.digest if upload.checksum else b"")
        except BaseException:
            await writer.abort()
            raise
        answer = [("etag", quoted(entry.etag)), *shown(upload, customer_key)]
        if integrity.algorithm:
            answer.append((integrity.algorithm.header, checksums.format_value(integrity.digest)))
        return Answer(headers=answer, about=upload)

    async def complete_multipart_upload(self, call: Call, request: CompleteMultipartUploadRequest) -> Answer:
        """Make one object of the parts that the request lists."""
        precondition = write_precondition(request.if_match, request.if_none_match)
        wanted = request.multipart_upload.parts if request.multipart_upload else []
        _check_order(wanted)
        try:
            upload, there = await self._all_parts(call, request.upload_id, len(wanted))
            chosen = _choose(wanted, there, upload)
            _check_total(request, chosen)
            checksum = _whole_checksum(upload, chosen)
            _check_checksum(call, checksum)
            info = await self._uploads.complete(
                call.bucket, call.key, request.upload_id, chosen, checksum, precondition
            )
        except PartChanged:
            raise S3Error("InvalidPart") from None
        except NoSuchUpload:
            info = await self._completed_before(call, request.upload_id, wanted)
        output = CompleteMultipartUploadOutput(
            location=f"{call.request.origin}{call.request.raw_path}",
            bucket=call.bucket,
            key=call.key,
            etag=quoted(info.etag),
        )
        set_checksum(output, info.checksum)
        return Answer(output, shown(info, None), about=info)

    async def abort_multipart_upload(self, call: Call, request: AbortMultipartUploadRequest) -> Answer:
        """End an upload and drop its parts."""
        if _INITIATED in call.request.headers:  # S3 has this for directory buckets only
            raise S3Error("NotImplemented", "Uploads are not ended on the condition of when they were begun.")
        await self._uploads.abort(call.bucket, call.key, request.upload_id)
        return Answer()

    async def list_parts(self, call: Call, request: ListPartsRequest) -> Answer:
        """One page of an upload's parts."""
        after = part_marker(request.part_number_marker)
        limit = page_size(request.max_parts, "max-parts")
        upload, parts, following = await self._uploads.parts(call.bucket, call.key, request.upload_id, after, limit)
        output = ListPartsOutput(
            bucket=call.bucket,
            key=call.key,
            upload_id=request.upload_id,
            part_number_marker=after,
            next_part_number_marker=parts[-1].entry.number if parts else after,
            max_parts=limit,
            is_truncated=following is not None and limit > 0,  # an empty page has no marker to go on from
            initiator=INITIATOR,
            owner=OWNER,
            storage_class="STANDARD",
        )
        if upload.checksum:
            output.checksum_algorithm, output.checksum_type = upload.checksum.algorithm, upload.checksum.kind
        for part in parts:
            entry = part.entry
            shape = Part(
                part_number=entry.number,
                last_modified=moment(part.modified),
                etag=quoted(entry.etag),
                size=entry.size,
            )
            if upload.checksum and entry.checksum:
                set_part_checksum(shape, upload.checksum.algorithm, entry.checksum)
            output.parts.append(shape)
        return Answer(output)

    async def list_multipart_uploads(self, call: Call, request: ListMultipartUploadsRequest) -> Answer:
        """One page of a bucket's open uploads."""
        encoding = request.encoding_type
        prefix, delimiter = request.prefix or "", request.delimiter or ""
        limit = page_size(request.max_uploads, "max-uploads")
        key = behind_marker(request.key_marker or "", prefix, delimiter)
        after = (key, (request.upload_id_marker or "") if key and key == request.key_marker else "")
        page = await self._uploads.list(call.bucket, prefix, delimiter, after, limit)
        output = ListMultipartUploadsOutput(
            bucket=call.bucket,
            key_marker=encode_name(request.key_marker or "", encoding),
            upload_id_marker=request.upload_id_marker or "",
            prefix=encode_name(prefix, encoding),
            delimiter=encode_name(delimiter, encoding) if delimiter else None,
            encoding_type=encoding,
            max_uploads=limit,
            is_truncated=page.next is not None,
        )
        if page.next is not None:
            output.next_key_marker, output.next_upload_id_marker = encode_name(page.next[0], encoding), page.next[1]
        output.uploads = [
            MultipartUpload(
                upload_id=upload.upload_id,
                key=encode_name(upload.key, encoding),
                initiated=moment(upload.started),
                storage_class="STANDARD",
                owner=OWNER,
                initiator=INITIATOR,
            )
            for upload in page.uploads
        ]
        output.common_prefixes = [CommonPrefix(prefix=encode_name(name, encoding)) for name in page.prefixes]
        return Answer(output)

    async def _check_before(self, call: Call, precondition: Precondition) -> None:
        """Check an upload's condition when it is opened. S3 takes conditions on completion only, but ``mc`` sends them
        only here, and MinIO checks them here. Raises PreconditionFailed, NoSuchObject (If-Match).
        """
        await self._objects.condition(call.bucket, call.key, precondition)
        if precondition.if_none_match:
            with contextlib.suppress(NoSuchObject):
                await self._objects.stored(call.bucket, call.key)
                raise S3Error("PreconditionFailed", Condition="If-None-Match")

    async def _all_parts(self, call: Call, upload_id: str, wanted: int) -> tuple[UploadInfo, dict[int, PartInfo]]:
        there: dict[int, PartInfo] = {}
        after: int | None = 0
        while after is not None:
            upload, parts, after = await self._uploads.parts(
                call.bucket, call.key, upload_id, after, MAX_PARTS if wanted > 1 else 1000
            )
            there.update((part.entry.number, part) for part in parts)
        return upload, there

    async def _completed_before(self, call: Call, upload_id: str, wanted: Sequence[CompletedPart]) -> ObjectInfo:
        """The object that this very upload made, for a client that lost the first answer and asks again. Raises
        NoSuchUpload if there is none, or if it was made of other parts than ``wanted``.
        """
        try:
            info = await self._objects.head(call.bucket, call.key, call.encryption.customer_key())
        except (NoSuchObject, CustomerKeyNeeded, CustomerKeyNotApplicable, CustomerKeyWrong):
            raise NoSuchUpload from None
        if info.upload != upload_id or not _made_of(info, wanted, opaque=self._objects.opaque(info.kind)):
            raise NoSuchUpload
        return info


def _made_of(info: ObjectInfo, wanted: Sequence[CompletedPart], *, opaque: bool) -> bool:
    """Whether an object consists of the listed parts, judging by its ETag; an ``opaque`` ETag shows only how many."""
    if opaque:
        return info.etag.endswith(f"-{len(wanted)}")
    try:
        return info.etag == multipart_etag([bytes.fromhex((part.etag or "").strip('"')) for part in wanted])
    except ValueError:  # no part has such an ETag
        return False


def _check_order(wanted: Sequence[CompletedPart]) -> None:
    """Raises MalformedXML, InvalidArgument, InvalidPartOrder."""
    if not wanted or any(part.part_number is None or part.etag is None for part in wanted):
        raise S3Error("MalformedXML")
    numbers = [part.part_number or 0 for part in wanted]
    if min(numbers) < 1:
        raise S3Error(
            "InvalidArgument", "PartNumber must be >= 1", ArgumentName="PartNumber", ArgumentValue=str(min(numbers))
        )
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise S3Error("InvalidPartOrder")


def _choose(wanted: Sequence[CompletedPart], there: dict[int, PartInfo], upload: UploadInfo) -> list[PartInfo]:
    """The stored parts that a completion lists.

    Raises BadDigest, EntityTooSmall, InvalidArgument, InvalidPart, InvalidRequest.
    """
    chosen = []
    for position, item in enumerate(wanted, 1):
        part = there.get(item.part_number or 0)
        etag = (item.etag or "").strip('"')
        if part is None or part.entry.etag != etag or not _same_checksum(item, part, upload):
            raise S3Error("InvalidPart", UploadId=upload.upload_id, PartNumber=str(item.part_number), ETag=etag)
        if part.entry.size < MIN_PART and position < len(wanted):
            raise S3Error(
                "EntityTooSmall",
                ProposedSize=str(part.entry.size),
                MinSizeAllowed=str(MIN_PART),
                PartNumber=str(item.part_number),
                ETag=etag,
            )
        chosen.append(part)
    return chosen


def _same_checksum(item: CompletedPart, part: PartInfo, upload: UploadInfo) -> bool:
    given = _given_checksum(item)
    if upload.checksum is None:
        return True
    if given is None:
        if upload.checksum.kind == ChecksumType.COMPOSITE:
            raise S3Error(
                "InvalidRequest",
                f"The upload was created using a {upload.checksum.algorithm.lower()} checksum. The complete request"
                f" must include the checksum for each part. It was missing for part {item.part_number} in the request.",
            )
        return True
    algorithm, value = given
    if algorithm != upload.checksum.algorithm:
        raise S3Error(
            "BadDigest",
            f"The {algorithm.lower()} you specified for part {item.part_number} did not match what we received.",
        )
    return hmac.compare_digest(value, part.entry.checksum)


def _given_checksum(item: CompletedPart) -> tuple[Algorithm, bytes] | None:
    """The checksum that a request gives for a part. Raises InvalidArgument if it is malformed or there are several."""
    given = [(algorithm, text) for algorithm in Algorithm if (text := getattr(item, algorithm.member)) is not None]
    if not given:
        return None
    try:
        (algorithm, text) = given[0]
        value = checksums.parse_value(algorithm, text)
    except S3Error:
        value = b""
    if not value or len(given) > 1:
        raise S3Error(
            "InvalidArgument",
            "Invalid Base64 or multiple checksums present in request",
            ArgumentName="Checksum",
            ArgumentValue=given[0][1][:256],
        )
    return algorithm, value


def _check_total(request: CompleteMultipartUploadRequest, chosen: Sequence[PartInfo]) -> None:
    expected, size = request.mpu_object_size, sum(part.entry.size for part in chosen)
    if expected is not None and int(expected) < 0:
        raise S3Error("InvalidRequest", f"Value for x-amz-mp-object-size header is less than zero: '{expected}'")
    if expected is not None and int(expected) != size:
        raise S3Error(
            "InvalidRequest",
            f"The provided 'x-amz-mp-object-size' header value {expected} does not match what was computed: {size}",
        )


def _whole_checksum(upload: UploadInfo, chosen: Sequence[PartInfo]) -> ObjectChecksum | None:
    if upload.checksum is None:
        return None
    algorithm = Algorithm(upload.checksum.algorithm)
    if upload.checksum.kind == ChecksumType.COMPOSITE:
        value = checksums.composite(algorithm, [part.entry.checksum for part in chosen])
    else:
        parts = ((part.entry.checksum, part.entry.size) for part in chosen)
        value = checksums.format_value(checksums.full_object(algorithm, parts))
    return ObjectChecksum(algorithm, upload.checksum.kind, value)


def _check_checksum(call: Call, checksum: ObjectChecksum | None) -> None:
    """Compare the checksum of the whole object with the one in the request. Raises BadDigest, InvalidRequest."""
    headers = call.request.headers
    kind = checksums.parse_type(headers["x-amz-checksum-type"]) if "x-amz-checksum-type" in headers else None
    if kind is not None and checksum is not None and kind != checksum.kind:
        raise S3Error(
            "InvalidRequest",
            f"The upload was created using the {checksum.kind} checksum mode. The complete request must use the same"
            " checksum mode.",
        )
    for algorithm in checksums.brought(headers):
        digest, _, count = headers[algorithm.header].partition("-")
        if count and not (count.isascii() and count.isdigit()):
            digest = ""  # malformed: parse_value raises
        checksums.parse_value(algorithm, digest)
        if checksum is None or checksum.algorithm != algorithm:
            raise S3Error("InvalidRequest", f"The upload was not created using a {algorithm.lower()} checksum.")
        if headers[algorithm.header] not in (checksum.value, checksum.value.rpartition("-")[0]):
            raise S3Error("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")
