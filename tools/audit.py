#!/usr/bin/env python3
"""Verifies checkpoints, proofs and backups of CIDP without CIDP: a worked example of docs/audit.md, meant to be read.

    audit.py checkpoint FILE --key PUB
    audit.py proof FILE --key PUB
    audit.py consistency FILE --key PUB
    audit.py backup FILE... [--trusted FILE --key PUB]

FILE of the first three is the JSON of GET /audit/checkpoint (or audit/checkpoints.jsonl), /audit/proof, /audit/consistency. Several
backups are one from the beginning and those that go on from it, in order. It needs two packages beside Python itself: blake3, PyNaCl.
Exit code 0: everything fits. 1: something does not, and the last line says what.
"""

import argparse
import json
import struct
import sys
import zlib

from blake3 import blake3
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey


class Finding(Exception):
    """Something that does not fit."""


def digest(*parts):
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


# Checkpoints


def checkpoints_of(path):
    """All checkpoints in a file: JSON values one after another."""
    text, decoder, found, at = open(path, encoding="utf-8").read(), json.JSONDecoder(), [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = decoder.raw_decode(text, at)
        found.append(value.get("checkpoint", value))
    return found


def opened(signed, key):
    """What a checkpoint says, after its signature was verified with the key that the auditor trusts."""
    if signed["key"] != key:
        raise Finding(f"the checkpoint is signed with {signed['key']}, not with {key}")
    text = signed["text"].encode()
    try:
        VerifyKey(bytes.fromhex(key)).verify(text, bytes.fromhex(signed["signature"]))
    except BadSignatureError:
        raise Finding("the signature does not fit the text of the checkpoint") from None
    lines = signed["text"].split("\n")
    if lines[0] != "cidp checkpoint v1" or lines[-1] != "":
        raise Finding("the text is no checkpoint")
    fields = dict(line.split(" ", 1) for line in lines[1:5])
    shards = {}
    for line in lines[5:-1]:
        word, shard, size, root = line.split(" ")
        if word != "shard":
            raise Finding(f"{line!r} is no shard")
        shards[int(shard)] = (int(size), bytes.fromhex(root))
    return {
        "log": bytes.fromhex(fields["log"]),
        "number": int(fields["number"]),
        "previous": fields["previous"],
        "shards": shards,
        "digest": digest(text).hex(),
    }


# The Merkle tree of RFC 9162 (2.1), with BLAKE3


def leaf(salt, header, payload_hash):
    return digest(b"\x00", salt, header, payload_hash)


def node(left, right):
    return digest(b"\x01", left, right)


def root_of_path(hash_, index, size, path):
    """RFC 9162, 2.1.3.2."""
    place, last = index, size - 1
    for beside in path:
        if last == 0:
            raise Finding("the path is longer than the tree is high")
        if place & 1 or place == last:
            hash_ = node(beside, hash_)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            hash_ = node(hash_, beside)
        place, last = place >> 1, last >> 1
    if last:
        raise Finding("the path is shorter than the tree is high")
    return hash_


def roots_of_continuation(first, first_root, second, proof):
    """RFC 9162, 2.1.4.2: both roots as the proof gives them."""
    proof = list(proof)
    if not first & (first - 1):
        proof.insert(0, first_root)
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = proof[0]
    for hash_ in proof[1:]:
        if place & 1 or place == last:
            before, after = node(hash_, before), node(hash_, after)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            after = node(after, hash_)
        place, last = place >> 1, last >> 1
    return before, after


class Tree:
    """A growing tree: the roots of its perfect subtrees, the largest first."""

    def __init__(self):
        self.size, self.peaks = 0, []

    def push(self, hash_):
        size = self.size
        while size & 1:
            hash_, size = node(self.peaks.pop(), hash_), size >> 1
        self.peaks.append(hash_)
        self.size += 1

    def root(self):
        if not self.peaks:
            return digest()
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node(peak, root)
        return root


# Commands


def check_checkpoint(path, key):
    before = None
    for signed in checkpoints_of(path):
        checkpoint = opened(signed, key)
        follows = before and checkpoint["number"] == before["number"] + 1
        if follows and checkpoint["previous"] != before["digest"]:
            raise Finding(f"checkpoint {checkpoint['number']} does not go on from the one before it")
        before = checkpoint
        print(f"checkpoint {checkpoint['number']} of log {checkpoint['log'].hex()}: signed with the trusted key")


def check_proof(path, key):
    proof = json.load(open(path, encoding="utf-8"))
    checkpoint = opened(proof["checkpoint"], key)
    header = bytes.fromhex(proof["header"])
    shard, sequence, appended_at, kind, first, last, version, length = struct.unpack(">HQqHqqQB", header[:45])
    locomotive = header[45:].decode()
    if (locomotive, version) != (proof["locomotive"], proof["version"]) or length != len(header) - 45:
        raise Finding("the header is that of another event")
    payload_hash = bytes.fromhex(proof["payload_hash"])
    if proof["payload"] is not None and digest(bytes.fromhex(proof["payload"])) != payload_hash:
        raise Finding("the payload is not the one that was hashed")
    size, root = checkpoint["shards"][shard]
    hash_ = leaf(bytes.fromhex(proof["salt"]), header, payload_hash)
    path = [bytes.fromhex(beside) for beside in proof["path"]]
    if sequence - 1 >= size or root_of_path(hash_, sequence - 1, size, path) != root:
        raise Finding("the path does not lead from this record to the signed root")
    print(
        f"{locomotive} version {version}: record of kind {kind} at position {sequence} of shard {shard}, appended at"
        f" {appended_at}, event time {first} to {last}, stands in checkpoint {checkpoint['number']}"
    )


def check_consistency(path, key):
    body = json.load(open(path, encoding="utf-8"))
    before, after = opened(body["from"], key), opened(body["to"], key)
    proofs = {shard["shard"]: [bytes.fromhex(hash_) for hash_ in shard["proof"]] for shard in body["shards"]}
    if before["log"] != after["log"]:
        raise Finding("the two checkpoints are of two logs")
    for shard, (first, first_root) in before["shards"].items():
        second, second_root = after["shards"].get(shard, (0, b""))
        if first == 0:
            continue
        if first == second:
            fits = first_root == second_root
        else:
            fits = first < second and proofs.get(shard) and roots_of_continuation(
                first, first_root, second, proofs[shard]
            ) == (first_root, second_root)
        if not fits:
            raise Finding(f"shard {shard}: checkpoint {after['number']} does not go on from {before['number']}")
    print(f"checkpoint {after['number']} goes on from {before['number']}: nothing that was signed has changed")


class Bytes:
    """Bytes that are taken off the front."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        taken = self.data[self.at : self.at + count]
        if len(taken) < count:
            raise Finding("a part of the backup ends too early")
        self.at += count
        return taken

    def varint(self):
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def signed(self):
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def text(self):
        return self.take(self.varint())


def frames(path):
    """The frames of a backup as kind and body; every seal is verified. The last one gives the id."""
    with open(path, "rb") as file:
        opening = file.read(10)
        if opening != b"CIDP-LOG\x00\x01":
            raise Finding(f"{path} is no backup of format 1")
        seal = digest(opening)
        while True:
            at, head = file.tell(), file.read(5)
            if not head:
                raise Finding(f"{path} ends at byte {at} without its last frame")
            length = struct.unpack(">I", head[1:])[0]
            body, said = file.read(length), file.read(32)
            seal = digest(seal, head, body)
            if seal != said:
                raise Finding(f"{path}: the frame at byte {at} does not fit its seal")
            yield head[0], body, seal
            if head[0] == 255:
                if file.read(1):
                    raise Finding(f"{path} goes on after its last frame")
                return


def unpacked(body):
    return Bytes(zlib.decompress(body[4:]))


def secret_in(paths):
    """The log's secret, which salts the leaves; it stands among the texts."""
    for path in paths:
        for kind, body, _ in frames(path):
            if kind == 4:
                texts = unpacked(body)
                for _ in range(texts.varint()):
                    name, text = texts.text(), texts.text()
                    if name == b"audit-secret":
                        return bytes.fromhex(text.decode())
    return None


def check_backup(paths, trusted, key):
    secret = secret_in(paths)
    checkpoints = [opened(signed, key) for path in trusted for signed in checkpoints_of(path)]
    if checkpoints and secret is None:
        raise Finding("the backup has no texts, and so not the secret without which roots cannot be computed")
    expected = {}
    for checkpoint in checkpoints:
        if checkpoint["log"] != blake3(secret, derive_key_context="cidp 2026 audit: name of a log").digest():
            raise Finding(f"checkpoint {checkpoint['number']} is of another log")
        for shard, (size, root) in checkpoint["shards"].items():
            expected.setdefault(shard, {}).setdefault(size, set()).add((root, checkpoint["number"]))
    shards, previous = {}, bytes(32)
    for path in paths:
        for kind, body, seal in frames(path):
            if kind == 1:
                if body[8:40] != previous:
                    raise Finding(f"{path} does not go on from the backup before it")
            elif kind == 2:
                records(unpacked(body), shards, secret, expected)
        previous = seal
    for shard, roots in expected.items():
        size = shards[shard]["tree"].size if shard in shards else 0
        for signed, of_size in roots.items():
            if signed > size:
                number = min(number for _, number in of_size)
                raise Finding(f"shard {shard} ends at {size}, but checkpoint {number} signed {signed} records")
    for shard, state in sorted(shards.items()):
        print(f"shard {shard}: {state['size']} records, the chain is whole, {state['roots']} signed roots fit")


def records(data, shards, secret, expected):
    """The records of one frame: their chain, and the roots that were signed over them."""
    shard, sequence, count = data.varint(), data.varint(), data.varint()
    start = {"size": 0, "hash": bytes(32), "tree": Tree(), "roots": 0}
    state = shards.setdefault(shard, start)
    before = 0
    for sequence in range(sequence, sequence + count):
        if sequence != state["size"] + 1:
            raise Finding(f"shard {shard}: expected position {state['size'] + 1}, got {sequence}")
        appended_at = before = before + data.signed()
        kind = data.varint()
        first = appended_at + data.signed()
        last = first + data.signed()
        locomotive, version = data.text(), data.varint()
        length = data.varint()
        payload_hash = data.take(32) if length == 0 else digest(data.take(length - 1))
        header = struct.pack(">HQqHqqQB", shard, sequence, appended_at, kind, first, last, version, len(locomotive)) + locomotive
        state["hash"], state["size"] = digest(state["hash"], header, payload_hash), sequence
        if secret is not None:
            salt = blake3(struct.pack(">HQ", shard, sequence), key=secret).digest()
            state["tree"].push(leaf(salt, header, payload_hash))
            for root, number in expected.get(shard, {}).get(sequence, ()):
                if root != state["tree"].root():
                    raise Finding(f"shard {shard}: checkpoint {number} signed other records than the first {sequence}")
                state["roots"] += 1
    if data.take(32) != state["hash"]:
        raise Finding(f"shard {shard}: the records up to {sequence} do not give the chain hash that stands after them")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["checkpoint", "proof", "consistency", "backup"])
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--key", help="the public key that counts, hexadecimal")
    parser.add_argument("--trusted", action="append", default=[], metavar="FILE")
    given = parser.parse_args()
    if given.key is None and (given.what != "backup" or given.trusted):
        parser.error("signatures need --key")
    try:
        if given.what == "backup":
            check_backup(given.files, given.trusted, given.key)
        else:
            for file in given.files:
                {"checkpoint": check_checkpoint, "proof": check_proof, "consistency": check_consistency}[given.what](file, given.key)
    except Finding as finding:
        print(f"FOUND: {finding}")
        sys.exit(1)


if __name__ == "__main__":
    main()
