"""Public keys of people who log in: every kind that ssh-keygen makes is taken, and nothing else verifies."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.keys import Key

from hybrid import sshkeys
from hybrid.errors import BadRequest

DATA = b"what was asked for"
KINDS = (
    ("ed25519", 256, b"ssh-ed25519"),
    ("ecdsa", 256, b"ecdsa-sha2-nistp256"),
    ("ecdsa", 384, b"ecdsa-sha2-nistp384"),
    ("ecdsa", 521, b"ecdsa-sha2-nistp521"),
    ("rsa", 2048, b"rsa-sha2-512"),
    ("rsa", 2048, b"rsa-sha2-256"),
)


@pytest.mark.parametrize(("kind", "bits", "algorithm"), KINDS)
def test_kinds_of_keys(tmp_path: Path, kind: str, bits: int, algorithm: bytes) -> None:
    """Each is read as it was written, shown by its fingerprint, and verifies what it signed, that alone."""
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not here")
    file = tmp_path / "key"
    words = ["ssh-keygen", "-q", "-t", kind, "-b", str(bits), "-N", "", "-C", "ann at work", "-f", str(file)]
    subprocess.run(words, check=True)
    text = file.with_suffix(".pub").read_text()
    key = sshkeys.read_line(text)
    assert key.line == text.strip() and key.comment == "ann at work"
    shown = subprocess.run(["ssh-keygen", "-l", "-f", f"{file}.pub"], capture_output=True, text=True, check=True)
    assert shown.stdout.split()[1] == key.fingerprint
    assert sshkeys.is_allowed((key.line,), key.blob) == "ann at work"
    signature = Key.fromFile(str(file)).sign(DATA, signatureType=algorithm)
    assert sshkeys.verifies(key.blob, algorithm, signature, DATA)
    assert not sshkeys.verifies(key.blob, algorithm, signature, DATA + b"!")
    for other in {algorithm for _, _, algorithm in KINDS} - {algorithm} | {b"ssh-rsa"}:
        assert not sshkeys.verifies(key.blob, other, signature, DATA)
    assert not sshkeys.verifies(key.blob, algorithm, signature + b"x", DATA)
    assert not sshkeys.verifies(key.blob, algorithm, NS(algorithm) + NS(b""), DATA)


def test_signatures_by_sha1_are_not_taken() -> None:
    """Old clients of RSA keys sign so; it can be forged."""
    key = Key(rsa.generate_private_key(65537, 2048))
    assert not sshkeys.verifies(key.public().blob(), b"ssh-rsa", key.sign(DATA, signatureType=b"ssh-rsa"), DATA)


def test_keys_in_hardware() -> None:
    """Those of FIDO: what is signed is what the device made of it, with somebody at it."""
    application = b"ssh:"
    soft = ed25519.Ed25519PrivateKey.generate()
    point = soft.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    kind = b"sk-ssh-ed25519@openssh.com"
    blob = NS(kind) + NS(point) + NS(application)
    for flags, good in ((b"\1", True), (b"\0", False)):
        rest = flags + bytes(4)
        seen = hashlib.sha256(application).digest() + rest + hashlib.sha256(DATA).digest()
        assert sshkeys.verifies(blob, kind, NS(kind) + NS(soft.sign(seen)) + rest, DATA) is good
    curve = ec.generate_private_key(ec.SECP256R1())
    kind = b"sk-ecdsa-sha2-nistp256@openssh.com"
    point = curve.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    blob = NS(kind) + NS(b"nistp256") + NS(point) + NS(application)
    rest = b"\5" + b"\0\0\0\7"
    seen = hashlib.sha256(application).digest() + rest + hashlib.sha256(DATA).digest()
    r, s = decode_dss_signature(curve.sign(seen, ec.ECDSA(hashes.SHA256())))
    both = NS(r.to_bytes(33, "big")) + NS(s.to_bytes(33, "big"))
    assert sshkeys.verifies(blob, kind, NS(kind) + NS(both) + rest, DATA)
    assert not sshkeys.verifies(blob, kind, NS(kind) + NS(both) + b"\5\0\0\0\x08", DATA)


def test_weak_keys() -> None:
    """An RSA key of 1024 bits is refused, with the bound."""
    n = (1 << 1023) + 1
    blob = NS(b"ssh-rsa") + NS(b"\1\0\1") + NS(n.to_bytes(129, "big"))
    with pytest.raises(BadRequest, match="2048 to 8192"):
        sshkeys.read_line(sshkeys.PublicKey("ssh-rsa", blob, "x").line)


def test_comments_cannot_deceive() -> None:
    """What a terminal would take for a command is dropped from a name, and a long one is cut."""
    blob = NS(b"ssh-ed25519") + NS(bytes([9]) * 32)
    line = sshkeys.PublicKey("ssh-ed25519", blob, "a\x1b[2Jb\u202e" + "c" * 200).line
    comment = sshkeys.read_line(line).comment
    assert comment.startswith("a[2Jbccc") and len(comment) == sshkeys.MAX_COMMENT
