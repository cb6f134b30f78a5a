"""Who signs: the user's own certificate, or one made on this machine that nobody vouches for.

The C2PA certificate profile refuses a leaf that signed itself, so the local one is issued by an
authority that exists for that single signature: its key is thrown away. It is valid for ten years
because results carry no time stamp (there is no network), and without one a result stops being
valid on the day its certificate expires.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sorawm_pipeline.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

_FILE = "signing-identity.pem"
_VALID_FOR = timedelta(days=3650)
_RENEW_BEFORE = timedelta(days=30)
_CLAIM_SIGNING = "1.3.6.1.4.1.62558.2.1"  # C2PA's own purpose, beside e-mail for older readers


@dataclass(frozen=True, slots=True)
class Credentials:
    """The user's own certificate chain (leaf first) and key, both PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Identity:
    """A chain (leaf first) and its key as C2PA takes them, and the algorithm that fits the key."""

    chain: bytes
    key: bytes
    algorithm: str
    starts: datetime
    expires: datetime
    local: bool


def identity(credentials: Credentials | None, state_dir: Path) -> Identity:
    """The identity to sign with: the user's, else the one kept in `state_dir`.

    Where nothing can be kept (a read-only home), a certificate serves once and is thrown away.

    Raises:
        ConfigError: the user's certificate or key cannot be used.
    """
    if credentials is not None:
        return _configured(credentials)
    try:
        return _local(state_dir)
    except OSError:
        made = _make()
        return _identity(made, made, local=True)


def _configured(credentials: Credentials) -> Identity:
    chain = _read(credentials.certificate, "provenance.certificate")
    key = _read(credentials.key, "provenance.key")
    try:
        found = _identity(chain, key, local=False)
    except (ValueError, TypeError) as error:  # TypeError: the key is encrypted
        raise ConfigError(
            f"{credentials.certificate} and {credentials.key} cannot sign: {error}."
        ) from error
    if not found.starts <= datetime.now(UTC) < found.expires:
        raise ConfigError(
            f"{credentials.certificate} is valid only from {found.starts:%Y-%m-%d} "
            f"to {found.expires:%Y-%m-%d}."
        )
    return found


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: {path} cannot be read: {error.strerror}.") from error


def _local(state_dir: Path) -> Identity:
    path = state_dir / _FILE
    if (kept := _kept(path)) is not None:
        return kept
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = state_dir / f".{_FILE}.{uuid.uuid4().hex}"
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(_make())
            file.flush()
            os.fsync(file.fileno())
        _publish(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    if (kept := _kept(path)) is None:
        raise OutputError(f"{path} cannot be read back.")
    return kept


def _publish(fresh: Path, path: Path) -> None:
    """Of several processes that make their first identity at once, one wins; all then read it."""
    try:
        path.hardlink_to(fresh)
    except OSError:  # another was first, or there are no hard links here
        if _kept(path) is None:
            fresh.replace(path)


def _kept(path: Path) -> Identity | None:
    """The identity on disk; None when there is none, or it is damaged or about to expire."""
    try:
        text = path.read_bytes()
        found = _identity(text, text, local=True)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return found if found.expires > datetime.now(UTC) + _RENEW_BEFORE else None


def _identity(chain_pem: bytes, key_pem: bytes, *, local: bool) -> Identity:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(key_pem, password=None)
    chain = x509.load_pem_x509_certificates(chain_pem)
    leaf = chain[0]
    if leaf.public_key() != key.public_key():
        raise ValueError("the first certificate does not belong to the key")
    if leaf.issuer == leaf.subject:
        raise ValueError("the certificate signed itself, which C2PA does not allow")
    return Identity(
        chain=b"".join(certificate.public_bytes(s.Encoding.PEM) for certificate in chain),
        key=key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()),
        algorithm=_algorithm(key),
        starts=leaf.not_valid_before_utc,
        expires=leaf.not_valid_after_utc,
        local=local,
    )


def _algorithm(key: object) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey):
        curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
        if key.curve.name in curves:
            return curves[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise ValueError("the key is neither ECDSA on a NIST curve, RSA nor Ed25519")


def _make() -> bytes:
    """A fresh key, its certificate and the authority's, as one PEM text."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec

    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("local authority", authority_key, None, authority_key)
    leaf = _certificate("local signer", key, authority, authority_key)
    secret = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    return secret + leaf.public_bytes(s.Encoding.PEM) + authority.public_bytes(s.Encoding.PEM)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """A certificate by the C2PA profile: an authority without `issuer`, else an end entity."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Unverified, made by sorawm-pipeline"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"sorawm-pipeline {name} (unverified)"),
        ]
    )
    now = datetime.now(UTC)
    is_authority = issuer is None
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                **usage,
            ),
            True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
    )
    if not is_authority:
        purposes = [x509.ObjectIdentifier(_CLAIM_SIGNING), ExtendedKeyUsageOID.EMAIL_PROTECTION]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
    return builder.sign(issuer_key, hashes.SHA256())
