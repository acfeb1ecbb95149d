"""Generated files are what their generators make now."""

from __future__ import annotations

import dataclasses

from botocore.loaders import Loader

from strongroom.s3 import generate, shapes
from strongroom.s3.model import compile_model
from strongroom.s3.operations import SERVED, UNSET
from strongroom.s3.service_model import operations, shape_of


def test_the_service_model_is_what_botocores_loader_gives() -> None:
    loaded = Loader().load_service_model("s3", "service-2")
    assert {name: shape_of(name).raw for name in loaded["shapes"]} == loaded["shapes"]
    assert [operation.name for operation in operations()] == sorted(loaded["operations"])


def test_shapes_are_those_of_the_service_model() -> None:
    assert generate.SHAPES.read_text() == generate.shapes_source()


def test_the_page_of_operations_is_current() -> None:
    assert generate.DOCS.read_text() == generate.docs_source()


def test_the_page_names_every_operation_of_the_model() -> None:
    page = generate.DOCS.read_text()
    for operation in operations():
        assert f"| {operation.name} | " in page


def test_every_served_operation_is_compiled_with_its_shapes() -> None:
    compiled = {operation.name for operation in compile_model().served}
    assert compiled == {*SERVED, *UNSET}
    for operation in operations():
        if operation.name in compiled and operation.input is not None:
            shape = getattr(shapes, operation.input.name)
            named = {field.name for field in dataclasses.fields(shape)}
            assert {member.attribute for member in operation.input.members} == named
