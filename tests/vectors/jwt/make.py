"""Makes tokens.json: keys and tokens by PyJWT and pyca/cryptography, which share no code with what verifies them.

    python3 -m venv v && v/bin/pip install 'pyjwt[crypto]' && v/bin/python tests/vectors/jwt/make.py

The private keys are made here and forgotten: nothing else can be signed with them.
"""

import base64
import hashlib
import hmac
import json
import pathlib

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

LATE = 4102444800  # the first second of 2100
CLAIMS = {"sub": "alice", "exp": LATE, "aud": "meet", "iss": "https://issuer.example.org/"}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(value):
    return b64(json.dumps(value).encode())


def pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def jwk(kind, key, kid, **more):
    out = json.loads(kind.to_jwk(key.public_key()))
    out.pop("key_ops", None)
    return {**out, "kid": kid, **more}


def sign(key, alg, kid=None, claims=CLAIMS, **header):
    return jwt.encode(claims, key, algorithm=alg, headers={**({"kid": kid} if kid else {}), **header})


rsa_key = rsa.generate_private_key(65537, 2048)
other_rsa = rsa.generate_private_key(65537, 2048)
weak_rsa = rsa.generate_private_key(65537, 1024)
p256 = ec.generate_private_key(ec.SECP256R1())
p384 = ec.generate_private_key(ec.SECP384R1())
ed = ed25519.Ed25519PrivateKey.generate()
other_ed = ed25519.Ed25519PrivateKey.generate()

jwks = {
    "keys": [
        jwk(RSAAlgorithm, rsa_key, "rsa", use="sig", alg="RS256", x5t="x"),
        jwk(RSAAlgorithm, other_rsa, "pss", use="sig", alg="PS256"),
        jwk(ECAlgorithm, p256, "p256", use="sig"),
        jwk(OKPAlgorithm, ed, "ed", use="sig", alg="EdDSA"),
        jwk(RSAAlgorithm, other_rsa, "enc", use="enc", alg="RSA-OAEP"),
        jwk(ECAlgorithm, p384, "p384", use="sig", alg="ES384"),
        jwk(RSAAlgorithm, weak_rsa, "weak", use="sig", alg="RS256"),
    ]
}

good = {
    "RS256": sign(rsa_key, "RS256", "rsa"),
    "PS256": sign(other_rsa, "PS256", "pss"),
    "ES256": sign(p256, "ES256", "p256"),
    "EdDSA": sign(ed, "EdDSA", "ed"),
    "RS256 without kid": sign(rsa_key, "RS256"),
    "ES256 without kid": sign(p256, "ES256"),
    "EdDSA without kid": sign(ed, "EdDSA"),
    "access token": sign(rsa_key, "RS256", "rsa", typ="at+jwt"),
}


def macced(secret, header):
    signed = f"{part({'typ': 'JWT', **header})}.{part(CLAIMS)}"
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


rsa_pem = pem(rsa_key)
rsa_der = rsa_key.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
rsa_n = rsa_key.public_key().public_numbers().n.to_bytes(256, "big")
ed_raw = ed.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
body = f"{part({'alg': 'ES256', 'kid': 'p256'})}.{part(CLAIMS)}"
twice = '{"alg":"HS256","alg":"RS256","kid":"rsa"}'
twice_body = f"{b64(twice.encode())}.{part(CLAIMS)}"

attacks = {
    # RFC 8725 §2.1: algorithms a stranger chooses.
    "HS256 with the public key as PEM": macced(rsa_pem.encode(), {"alg": "HS256", "kid": "rsa"}),
    "HS256 with the public key as PEM without its last line break": macced(rsa_pem.strip().encode(), {"alg": "HS256"}),
    "HS256 with the public key as DER": macced(rsa_der, {"alg": "HS256", "kid": "rsa"}),
    "HS256 with the modulus": macced(rsa_n, {"alg": "HS256", "kid": "rsa"}),
    "HS256 with the bytes of the Ed25519 key": macced(ed_raw, {"alg": "HS256", "kid": "ed"}),
    "HS256 with an empty secret": macced(b"", {"alg": "HS256"}),
    "none": f"{part({'alg': 'none', 'kid': 'rsa'})}.{part(CLAIMS)}.",
    "nOnE": f"{part({'alg': 'nOnE', 'kid': 'rsa'})}.{part(CLAIMS)}.",
    "an algorithm twice": f"{twice_body}." + b64(rsa_key.sign(twice_body.encode(), padding.PKCS1v15(), hashes.SHA256())),
    "PS256 with a key for RS256": sign(rsa_key, "PS256", "rsa"),
    "RS256 with a key for PS256": sign(other_rsa, "RS256", "pss"),
    "RS512 with a key for RS256": sign(rsa_key, "RS512", "rsa"),
    "ES256 in the name of an RSA key": sign(p256, "ES256", "rsa"),
    # §2.2, §3.5: keys and curves too weak, signatures of nothing.
    "an RSA key of 1024 bits": sign(weak_rsa, "RS256", "weak"),
    "a curve that is not known": sign(p384, "ES384", "p384"),
    "a key for encryption": sign(other_rsa, "RS256", "enc"),
    "an ECDSA signature of zeros": f"{body}.{b64(bytes(64))}",
    "an ECDSA signature in DER": f"{body}.{b64(p256.sign(body.encode(), ec.ECDSA(hashes.SHA256())))}",
    # §2.6, §3.10: what a token says about its own key.
    "a key that the token carries": jwt.encode(
        CLAIMS, other_ed, algorithm="EdDSA", headers={"kid": "ed", "jwk": jwk(OKPAlgorithm, other_ed, "ed")}
    ),
    "a key that the token points to": jwt.encode(
        CLAIMS,
        other_ed,
        algorithm="EdDSA",
        headers={"kid": "ed", "jku": "http://127.0.0.1:9/jwks.json", "x5u": "http://127.0.0.1:9/x5u"},
    ),
    "another's key under a known name": sign(other_ed, "EdDSA", "ed"),
    "a name that is a path": sign(other_ed, "EdDSA", "../../etc/passwd"),
    # §3.11, RFC 7515 §4.1.11: tokens for something else, and what must be understood.
    "a token for logging out": sign(rsa_key, "RS256", "rsa", typ="logout+jwt"),
    "an extension that must be understood": sign(rsa_key, "RS256", "rsa", crit=["exp"]),
    "a signature that is missing": good["RS256"].rsplit(".", 1)[0] + ".",
    "a signature of something else": good["RS256"].rsplit(".", 1)[0] + "." + good["EdDSA"].rsplit(".", 1)[1],
}

out = {
    "jwks": jwks,
    "pem": {"RS256": rsa_pem, "ES256": pem(p256), "EdDSA": pem(ed), "weak": pem(weak_rsa), "p384": pem(p384)},
    "private_pem": {
        "EdDSA": other_ed.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
    },
    "good": good,
    "expired": sign(rsa_key, "RS256", "rsa", {**CLAIMS, "exp": 1}),
    "attacks": attacks,
}
pathlib.Path(__file__).with_name("tokens.json").write_text(json.dumps(out, indent=1) + "\n")
