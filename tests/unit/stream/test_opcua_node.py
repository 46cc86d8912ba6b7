"""Node identifiers out of the configuration's texts."""

from __future__ import annotations

import pytest
from asyncua import ua

from stream.sources.opcua_node import node_id, why

INDEX = {"": 4, "urn:plant": 4, "urn:other": 7}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s=exchanger.flow", ua.NodeId("exchanger.flow", 4)),
        ("i=1001", ua.NodeId(1001, 4)),
        ('s="DB_Exchanger"."flow"', ua.NodeId('"DB_Exchanger"."flow"', 4)),
        ("s=ns=2;s=a", ua.NodeId("ns=2;s=a", 4)),
        ("nsu=urn:other;s=a", ua.NodeId("a", 7)),
        ("g=72962b91-fa75-4ae6-8d28-b404dc7daf63", None),
    ],
)
def test_a_text_means_a_node_in_its_namespace(text, expected):
    node = node_id(text, INDEX)
    assert node.NamespaceIndex == (7 if "urn:other" in text else 4)
    assert expected is None or node == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ns=2;s=a", "nsu=URI"),
        ("nsu=urn:nobody;s=a", "'urn:nobody' is not at this server"),
        ("exchanger.flow", "expected s=NAME"),
        ("i=flow", "expected s=NAME"),
        ("nsu=urn:other", "expected s=NAME"),
    ],
)
def test_what_is_no_node_says_what_is_expected(text, words):
    with pytest.raises(ValueError, match=words):
        node_id(text, INDEX)


def test_an_error_is_named_by_its_status_code_else_by_its_words():
    assert why(ua.UaStatusCodeError(ua.StatusCodes.BadNodeIdUnknown)) == "BadNodeIdUnknown"
    assert why(OSError("no route")) == "no route"
    assert why(TimeoutError()) == "TimeoutError"
