use jiff::Timestamp;
use pgp::{
    crypto::hash::HashAlgorithm,
    packet::{
        KeyFlags, Packet, PublicKey, PublicSubkey, Signature, SignatureType, SignatureVersion, SubpacketData, UserId,
    },
    ser::Serialize,
    types::{Duration, KeyDetails, PublicParams, Tag},
};

use crate::model::{Key, Text};

/// An OpenPGP certificate: a primary key, what it says of itself, and the subkeys that it answers for.
///
/// It is read narrowly. Any revocation of a key counts, whoever made it, whenever and for whatever reason; of several
/// statements about an end the earliest counts; what is signed over a weak hash can narrow but not allow.
#[derive(Debug)]
pub(super) struct Cert {
    /// The fingerprint of the primary key.
    pub name: Key,
    primary: PublicKey,
    revoked: bool,
    /// What the primary key says of itself: in one list for the key, and in one for each user id. All are checked.
    says: Vec<Vec<Signature>>,
    subkeys: Vec<Subkey>,
}

#[derive(Debug)]
struct Subkey {
    name: Key,
    key: PublicSubkey,
    revoked: bool,
    /// Checked, with the subkey's own signature that it belongs here, if that holds.
    bindings: Vec<(Signature, Option<Signature>)>,
}

/// What stands in a certificate, with the signatures that follow it.
struct Part {
    what: What,
    signatures: Vec<Signature>,
}

enum What {
    Primary(PublicKey),
    User(UserId),
    Subkey(PublicSubkey),
    /// Pictures, which nothing here asks for.
    Other,
}

/// Reads a run of certificates, as `gpg --export` writes them.
pub(super) fn read(packets: impl Iterator<Item = pgp::errors::Result<Packet>>) -> Result<Vec<Cert>, String> {
    let mut all: Vec<Vec<Part>> = Vec::new();
    for packet in packets {
        let packet = packet.map_err(|e| {
            format!("it holds what cannot be read ({e}): `gpg --export --export-options export-minimal KEY`")
        })?;
        let what = match packet {
            Packet::PublicKey(key) => {
                all.push(vec![Part { what: What::Primary(key), signatures: Vec::new() }]);
                continue;
            }
            Packet::UserId(id) => What::User(id),
            Packet::PublicSubkey(key) => What::Subkey(key),
            Packet::UserAttribute(_) => What::Other,
            Packet::Signature(signature) => {
                let part = all.last_mut().and_then(|parts| parts.last_mut());
                part.ok_or("it does not begin with a certificate")?.signatures.push(signature);
                continue;
            }
            Packet::Trust(_) | Packet::Marker(_) | Packet::Padding(_) => continue,
            Packet::SecretKey(_) | Packet::SecretSubkey(_) => {
                return Err(
                    "it holds a secret key: write what `gpg --export` prints, and take this key for lost".into()
                );
            }
            _ => return Err("it holds what belongs to no certificate: write what `gpg --export` prints".into()),
        };
        let parts = all.last_mut().ok_or("it does not begin with a certificate")?;
        parts.push(Part { what, signatures: Vec::new() });
    }
    all.into_iter().map(Cert::new).collect()
}

fn name(key: &impl KeyDetails) -> Result<Key, String> {
    let name = format!("{:X}", key.fingerprint()).parse();
    name.map_err(|_| "it holds a key of an old version: make a new one".into())
}

fn of(signatures: &[Signature], kinds: &[SignatureType]) -> Vec<Signature> {
    signatures.iter().filter(|one| one.typ().is_some_and(|kind| kinds.contains(&kind))).cloned().collect()
}

impl Cert {
    fn new(parts: Vec<Part>) -> Result<Self, String> {
        use SignatureType::{
            CertCasual, CertGeneric, CertPersona, CertPositive, CertRevocation, Key as Direct, KeyRevocation,
            SubkeyBinding, SubkeyRevocation,
        };
        let unknown = parts.iter().flat_map(|part| &part.signatures).any(|one| one.config().is_none());
        let revoked = parts.iter().any(|part| !of(&part.signatures, &[KeyRevocation]).is_empty());
        let mut parts = parts.into_iter();
        let Some(Part { what: What::Primary(primary), signatures }) = parts.next() else {
            return Err("it does not begin with a certificate".into());
        };
        let name = self::name(&primary)?;
        if unknown {
            // It could be a revocation.
            return Err(format!(
                "{name} holds a signature of an unknown version: export it anew, with `export-minimal`"
            ));
        }
        let good = |one: &Signature| one.verify_key(&primary).is_ok();
        let mut says = vec![of(&signatures, &[Direct]).into_iter().filter(good).collect()];
        let mut subkeys = Vec::new();
        for Part { what, signatures } in parts {
            match what {
                What::User(id) => {
                    let good = |one: &Signature| one.verify_certification(&primary, Tag::UserId, &id).is_ok();
                    if !of(&signatures, &[CertRevocation]).iter().any(good) {
                        let kinds = [CertGeneric, CertPersona, CertCasual, CertPositive];
                        says.push(of(&signatures, &kinds).into_iter().filter(good).collect());
                    }
                }
                What::Subkey(key) => {
                    let good = |one: &Signature| one.verify_subkey_binding(&primary, &key).is_ok();
                    let back = |one: Signature| {
                        let back = one.embedded_signature().cloned();
                        let back = back.filter(|back| back.verify_primary_key_binding(&key, &primary).is_ok());
                        (one, back)
                    };
                    subkeys.push(Subkey {
                        name: self::name(&key)?,
                        revoked: !of(&signatures, &[SubkeyRevocation]).is_empty(),
                        bindings: of(&signatures, &[SubkeyBinding]).into_iter().filter(good).map(back).collect(),
                        key,
                    });
                }
                What::Primary(_) | What::Other => {}
            }
        }
        Ok(Self { name, primary, revoked, says, subkeys })
    }

    /// The fingerprint of each key in it that the signature names as its maker.
    pub(super) fn makers(&self, signature: &Signature) -> Vec<&Key> {
        let subkeys = self.subkeys.iter().filter(|subkey| names(signature, &subkey.key)).map(|subkey| &subkey.name);
        names(signature, &self.primary).then_some(&self.name).into_iter().chain(subkeys).collect()
    }

    /// Checks that one of these keys made the signature over the data and could do so at this time.
    ///
    /// # Errors
    /// The end of a sentence that begins with the commit.
    pub(super) fn verify(&self, maker: &Key, signature: &Signature, data: &[u8], at: Timestamp) -> Result<(), Text> {
        let by = |why: String| Text::from(format!("is signed by {maker}, which {why}"));
        let flags = self.valid(at).map_err(by)?;
        let wrong = || Text::from("carries a signature that is not over this commit");
        if *maker == self.name {
            if flags.is_none_or(|sign| !sign) {
                return Err(by("may not sign".into()));
            }
            fits(signature, &self.primary, at)?;
            return signature.verify(&self.primary, data).map_err(|_| wrong());
        }
        let subkey = self.subkeys.iter().find(|subkey| subkey.name == *maker).ok_or_else(wrong)?;
        subkey.valid(at).map_err(by)?;
        fits(signature, &subkey.key, at)?;
        signature.verify(&subkey.key, data).map_err(|_| wrong())
    }

    /// The next moment at which anything in it ends: until then what was valid stays so.
    pub(super) fn end(&self, at: Timestamp) -> Option<Timestamp> {
        let own = self.says.iter().flatten().map(|one| (self.primary.created_at(), one));
        let subkeys = self.subkeys.iter().flat_map(|subkey| {
            let bound = subkey.bindings.iter().flat_map(|(one, back)| back.iter().chain([one]));
            bound.map(|one| (subkey.key.created_at(), one))
        });
        let ends = own.chain(subkeys).flat_map(|(made, one)| {
            let key = seconds(one.key_expiration_time()).map(|length| i64::from(made.as_secs()) + length);
            let signed = one.created().map(|made| i64::from(made.as_secs()));
            [key, signed.zip(seconds(one.signature_expiration_time())).map(|(made, length)| made + length)]
        });
        let ends = ends.flatten().filter_map(|end| Timestamp::from_second(end).ok());
        ends.filter(|end| *end > at).min()
    }

    /// Whether the primary key is valid, and whether it says that it may sign, if it says anything about that.
    fn valid(&self, at: Timestamp) -> Result<Option<bool>, String> {
        if self.revoked {
            return Err("is revoked".into());
        }
        strong(&self.primary)?;
        let newest: Vec<&Signature> = self.says.iter().filter_map(|all| newest(all, at)).collect();
        if !newest.iter().any(|one| counts(one)) {
            return Err("says nothing of itself that counts: without SHA-1, without an end that is past".into());
        }
        newest.iter().try_for_each(|one| within(&self.primary, one, at))?;
        let allows = newest.iter().any(|one| counts(one) && flags(one).is_some_and(KeyFlags::sign));
        let said: Vec<bool> = newest.iter().filter_map(|one| flags(one)).map(KeyFlags::sign).collect();
        Ok((!said.is_empty()).then(|| allows && said.iter().all(|sign| *sign)))
    }
}

impl Subkey {
    fn valid(&self, at: Timestamp) -> Result<(), String> {
        if self.revoked {
            return Err("is revoked".into());
        }
        strong(&self.key)?;
        let newest = self.bindings.iter().filter(|(one, _)| stands(one, at)).max_by_key(|(one, _)| rank(one));
        let Some((binding, back)) = newest.filter(|(one, _)| counts(one)) else {
            return Err("is bound to no certificate by a signature that counts".into());
        };
        within(&self.key, binding, at)?;
        if !flags(binding).is_some_and(KeyFlags::sign) {
            return Err("may not sign".into());
        }
        // Else anybody's key could be taken over into one's own certificate.
        if !back.as_ref().is_some_and(|back| counts(back) && stands(back, at)) {
            return Err("does not say itself that it belongs to its certificate".into());
        }
        Ok(())
    }
}

/// Checks what a signature over data says of itself. The key's validity is not judged by it.
fn fits(signature: &Signature, key: &impl KeyDetails, at: Timestamp) -> Result<(), Text> {
    if signature.typ() != Some(SignatureType::Binary) || !counts(signature) {
        return Err(
            "carries an OpenPGP signature of a kind that does not count: over a weak hash, or not over bytes".into()
        );
    }
    if !stands(signature, at) {
        return Err("carries an OpenPGP signature whose time is past or still to come".into());
    }
    if signature.created().is_none_or(|made| made < key.created_at()) {
        return Err("carries an OpenPGP signature that is older than its key".into());
    }
    Ok(())
}

fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    signature.issuer_fingerprint().contains(&&key.fingerprint())
        || signature.issuer_key_id().contains(&&key.legacy_key_id())
}

/// Over a hash that holds, and with no demand that is not understood.
fn counts(signature: &Signature) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
    let strong = matches!(signature.hash_alg(), Some(Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512));
    let version = matches!(signature.version(), SignatureVersion::V4 | SignatureVersion::V6);
    let unknown = signature.config().into_iter().flat_map(|config| config.hashed_subpackets()).any(|one| {
        use SubpacketData::{Experimental, Notation, Other, RegularExpression, SignatureTarget, TrustSignature};
        let odd = matches!(
            one.data,
            Experimental(..)
                | Notation(_)
                | Other(..)
                | RegularExpression(_)
                | SignatureTarget(..)
                | TrustSignature(..)
        );
        one.is_critical && odd
    });
    strong && version && !unknown
}

/// Whether it was made already and has not ended.
fn stands(signature: &Signature, at: Timestamp) -> bool {
    let Some(made) = signature.created().map(|made| i64::from(made.as_secs())) else { return false };
    let ends = seconds(signature.signature_expiration_time()).map(|length| made + length);
    made <= at.as_second() && ends.is_none_or(|end| at.as_second() < end)
}

/// The newest counts; of two of one second, the one with the earlier end.
fn newest(all: &[Signature], at: Timestamp) -> Option<&Signature> {
    all.iter().filter(|one| stands(one, at)).max_by_key(|one| rank(one))
}

fn rank(signature: &Signature) -> (u32, std::cmp::Reverse<i64>) {
    let end = seconds(signature.key_expiration_time()).unwrap_or(i64::MAX);
    (signature.created().map_or(0, |made| made.as_secs()), std::cmp::Reverse(end))
}

/// Whether the key was made already and has not ended, as this signature says.
fn within(key: &impl KeyDetails, signature: &Signature, at: Timestamp) -> Result<(), String> {
    let made = i64::from(key.created_at().as_secs());
    let day = |second: i64| Timestamp::from_second(second).map_or_else(|_| String::new(), |time| time.to_string());
    if at.as_second() < made {
        return Err(format!("is valid from {} only", day(made)));
    }
    match seconds(signature.key_expiration_time()).map(|length| made + length) {
        Some(end) if at.as_second() >= end => Err(format!("was valid until {} only", day(end))),
        _ => Ok(()),
    }
}

/// Zero means no end.
fn seconds(length: Option<Duration>) -> Option<i64> {
    length.map(|length| i64::from(length.as_secs())).filter(|seconds| *seconds != 0)
}

fn flags(signature: &Signature) -> Option<&KeyFlags> {
    signature.config()?.hashed_subpackets().find_map(|one| match &one.data {
        SubpacketData::KeyFlags(flags) => Some(flags),
        _ => None,
    })
}

/// Of a kind and size that still holds.
fn strong(key: &impl KeyDetails) -> Result<(), String> {
    match key.public_params() {
        PublicParams::ECDSA(_) | PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) | PublicParams::Ed448(_) => {
            Ok(())
        }
        PublicParams::RSA(rsa) => {
            // The modulus comes first, behind its length in bits.
            let bits = rsa.to_bytes().ok().and_then(|bytes| Some(u16::from_be_bytes(*bytes.first_chunk()?)));
            let bits = bits.unwrap_or_default();
            if bits >= 2048 { Ok(()) } else { Err(format!("is an RSA key of only {bits} bits")) }
        }
        _ => Err("is of a kind that does not count".into()),
    }
}
