//! OpenPGP signatures, and the certificates of who may make them.
//!
//! The crate `pgp` reads and checks; [`Cert`] judges. `sequoia-openpgp` judges too, but its licence (LGPL) would bind whoever
//! hands on our static binary, and it calls its own backend in Rust experimental; `rpgpie`, which judges for `pgp`, takes a
//! weak hash by the date that the signer wrote, and reads the clock itself.

use std::{collections::BTreeSet, io::Read};

use jiff::Timestamp;
use pgp::{
    armor::{BlockType, Dearmor},
    packet::{Packet, PacketParser, Signature},
};

use super::cert::{self, Cert};
use crate::model::{Key, Text};

const SIGNATURE: (&str, &str) = ("-----BEGIN PGP SIGNATURE-----", "-----END PGP SIGNATURE-----");
const CERT: (&str, &str) = ("-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----");

/// Reads certificates, in blocks of armor or as bytes.
pub(super) fn keyring(content: &[u8]) -> Result<Vec<Cert>, String> {
    let mut certs = Vec::new();
    if content.first().is_some_and(|first| first & 0x80 != 0) {
        certs = cert::read(PacketParser::new(content))?;
    } else {
        let mut rest = std::str::from_utf8(content).map_err(|_| "it is neither armored nor a keyring")?;
        while let Some((_, begun)) = rest.split_once(CERT.0) {
            let (block, after) = begun.split_once(CERT.1).ok_or("a block has no end")?;
            let bytes = dearmor(&format!("{}{block}{}\n", CERT.0, CERT.1), BlockType::PublicKey);
            let bytes = bytes.ok_or("a block of armor cannot be read")?;
            certs.extend(cert::read(PacketParser::new(bytes.as_slice()))?);
            rest = after;
        }
    }
    if certs.is_empty() {
        return Err("it holds no certificate: write what `gpg --armor --export KEY` prints".into());
    }
    let mut names = BTreeSet::new();
    match certs.iter().find(|cert| !names.insert(&cert.name)) {
        // One of the two may lack a revocation.
        Some(twin) => Err(format!("it holds {} twice: keep the newer one", twin.name)),
        None => Ok(certs),
    }
}

/// Who made a signature over this payload: the certificate's name, also where a subkey signed.
///
/// # Errors
/// The end of a sentence that begins with the commit.
pub(super) fn verify(
    armored: &str,
    payload: &[u8],
    certs: &[Cert],
    revoked: &BTreeSet<Key>,
    at: Timestamp,
) -> Result<Key, Text> {
    let signature = read(armored).ok_or("carries an OpenPGP signature that cannot be read")?;
    let mut why = unknown(&signature);
    for cert in certs {
        for maker in cert.makers(&signature) {
            if let Some(key) = [maker, &cert.name].into_iter().find(|key| revoked.contains(*key)) {
                return Err(format!("is signed by {key}, which is revoked").into());
            }
            match cert.verify(maker, &signature, payload, at) {
                Ok(()) => return Ok(cert.name.clone()),
                Err(not) => why = not,
            }
        }
    }
    Err(why)
}

fn unknown(signature: &Signature) -> Text {
    let named = signature.issuer_fingerprint().first().map(|name| format!("{name:X}"));
    let key = named.unwrap_or_else(|| "an OpenPGP key without a full name".into());
    format!("is signed by {key}, which is not in the keyring").into()
}

/// Exactly one signature, in exactly one block.
fn read(armored: &str) -> Option<Signature> {
    let body = armored.trim().strip_prefix(SIGNATURE.0)?.strip_suffix(SIGNATURE.1)?;
    if body.contains("-----") {
        return None;
    }
    let bytes = dearmor(&format!("{}{body}{}\n", SIGNATURE.0, SIGNATURE.1), BlockType::Signature)?;
    let mut packets = PacketParser::new(bytes.as_slice());
    match (packets.next(), packets.next()) {
        (Some(Ok(Packet::Signature(one))), None) => Some(one),
        _ => None,
    }
}

fn dearmor(block: &str, kind: BlockType) -> Option<Vec<u8>> {
    let mut armor = Dearmor::new(block.as_bytes());
    let mut bytes = Vec::new();
    armor.read_to_end(&mut bytes).ok()?;
    (armor.typ == Some(kind)).then_some(bytes)
}
