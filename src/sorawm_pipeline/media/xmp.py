"""XMP packets: what the source stated is kept, what was done is added.

Extending keeps every statement that the source made. Only the instance id changes, because the
result is another instance of the same document, and the history grows by one event.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from xml.dom import minidom
from xml.parsers.expat import ExpatError

from sorawm_pipeline.media import boxes

MAX_PACKET_BYTES = 1 << 20

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_MM = "http://ns.adobe.com/xap/1.0/mm/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_NAMESPACES = {
    "rdf": _RDF,
    "xmp": _XMP,
    "xmpMM": _MM,
    "stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#",
    "stRef": "http://ns.adobe.com/xap/1.0/sType/ResourceRef#",
    "Iptc4xmpExt": _IPTC,
}
_EMPTY = (
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
    '<rdf:Description rdf:about=""/></rdf:RDF></x:xmpmeta>'
)
_PACKET = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{}\n<?xpacket end="w"?>'


def read_packet(path: Path) -> str | None:
    """Text of the XMP packet, or None without one.

    Raises:
        ValueError: there is one, and it cannot be read.
    """
    data = boxes.read_xmp(path, MAX_PACKET_BYTES)
    if data is None:
        return None
    packet = data.decode().strip("\0")
    _parse(packet)
    return packet


def statement(packet: str, name: str) -> str | None:
    """Value of a simple property such as `Iptc4xmpExt:DigitalSourceType`."""
    prefix, local = name.split(":")
    return _value(_parse(packet), _NAMESPACES[prefix], local)


def extended(
    packet: str | None,
    *,
    software: str,
    description: str,
    when: str,
    digital_source_type: str | None,
) -> str:
    """The source's packet (or a new one) with one more event in its history."""
    document = _parse(packet or _EMPTY)
    rdf = document.getElementsByTagNameNS(_RDF, "RDF")[0]
    described = _descriptions(document)
    about = described[0].getAttributeNS(_RDF, "about") if described else ""
    added = _element(document, "rdf:Description", {"rdf:about": about})
    rdf.appendChild(added)

    before = {name: _value(document, _MM, name) for name in ("InstanceID", "DocumentID")}
    instance = f"xmp.iid:{uuid.uuid4()}"
    _replace(document, added, "xmpMM:InstanceID", instance)
    if before["DocumentID"] is None:
        _replace(document, added, "xmpMM:DocumentID", f"xmp.did:{uuid.uuid4()}")
    if before["InstanceID"] and not document.getElementsByTagNameNS(_MM, "DerivedFrom"):
        origin = {"stRef:instanceID": before["InstanceID"]}
        if before["DocumentID"]:
            origin["stRef:documentID"] = before["DocumentID"]
        added.appendChild(_element(document, "xmpMM:DerivedFrom", origin))
    if digital_source_type is not None:
        _replace(document, added, "Iptc4xmpExt:DigitalSourceType", digital_source_type)

    event = {
        "stEvt:action": "edited",
        "stEvt:instanceID": instance,
        "stEvt:when": when,
        "stEvt:softwareAgent": software,
        "stEvt:parameters": description,
    }
    _history(document, added).appendChild(_element(document, "rdf:li", event))
    return _PACKET.format(_written(document))


def _parse(packet: str) -> minidom.Document:
    if "<!DOCTYPE" in packet or "<!ENTITY" in packet:
        raise ValueError("XMP packet that declares entities")
    try:
        document = minidom.parseString(packet.strip().encode())  # noqa: S318  no entities, see above
        _written(document)  # nesting too deep to write is found here, not later
    except (ExpatError, RecursionError) as error:
        raise ValueError(f"XMP packet: {error}") from error
    if not document.getElementsByTagNameNS(_RDF, "RDF"):
        raise ValueError("XMP packet without RDF")
    return document


def _written(document: minidom.Document) -> str:
    root = document.documentElement
    return root.toxml() if root else ""


def _descriptions(document: minidom.Document) -> list[minidom.Element]:
    rdf = document.getElementsByTagNameNS(_RDF, "RDF")[0]
    return [
        node
        for node in rdf.childNodes
        if isinstance(node, minidom.Element) and node.localName == "Description"
    ]


def _children(parent: minidom.Element, namespace: str, local: str) -> list[minidom.Element]:
    return [
        node
        for node in parent.childNodes
        if isinstance(node, minidom.Element)
        and (node.namespaceURI, node.localName) == (namespace, local)
    ]


def _value(document: minidom.Document, namespace: str, local: str) -> str | None:
    for description in _descriptions(document):
        if description.hasAttributeNS(namespace, local):
            return description.getAttributeNS(namespace, local)
        for node in _children(description, namespace, local):
            text = "".join(
                child.data for child in node.childNodes if isinstance(child, minidom.Text)
            )
            return node.getAttributeNS(_RDF, "resource") or text.strip()
    return None


def _replace(document: minidom.Document, target: minidom.Element, name: str, value: str) -> None:
    prefix, local = name.split(":")
    for description in _descriptions(document):
        if description.hasAttributeNS(_NAMESPACES[prefix], local):
            description.removeAttributeNS(_NAMESPACES[prefix], local)
        for node in _children(description, _NAMESPACES[prefix], local):
            description.removeChild(node)
    _set(target, name, value)


def _history(document: minidom.Document, added: minidom.Element) -> minidom.Element:
    """The ordered list of events, the source's own where it has one."""
    for description in _descriptions(document):
        for node in _children(description, _MM, "History"):
            for sequence in _children(node, _RDF, "Seq"):
                return sequence
    history = _element(document, "xmpMM:History", {})
    added.appendChild(history)
    return history.appendChild(_element(document, "rdf:Seq", {}))


def _element(document: minidom.Document, name: str, attributes: dict[str, str]) -> minidom.Element:
    element = document.createElementNS(_NAMESPACES[name.split(":")[0]], name)
    _declare(element, name)
    for key, value in attributes.items():
        _set(element, key, value)
    return element


def _set(element: minidom.Element, name: str, value: str) -> None:
    _declare(element, name)
    element.setAttributeNS(_NAMESPACES[name.split(":")[0]], name, value)


def _declare(element: minidom.Element, name: str) -> None:
    """Our elements declare their own prefixes, as the source may bind them otherwise."""
    prefix = name.split(":")[0]
    element.setAttributeNS("http://www.w3.org/2000/xmlns/", f"xmlns:{prefix}", _NAMESPACES[prefix])
