//! The bytes of a commit object, read as git itself reads them.

use git2::Oid;

use crate::model::Text;

/// The largest signature, bytes: the largest keys make some 3 KiB.
const MAX_SIGNATURE: usize = 64 * 1024;

/// A signed commit in its two parts.
pub(super) struct Signed {
    /// As armored by the signing program.
    pub signature: String,
    /// What the signature is over: the object without the header that holds it.
    pub payload: Vec<u8>,
}

/// The tree and the parents, which are the first headers of every commit. `None` for what no git makes.
pub(super) fn links(raw: &[u8]) -> Option<(Oid, Vec<Oid>)> {
    let mut rest = raw;
    let tree = link(&mut rest, b"tree ")?;
    let mut parents = Vec::new();
    while rest.starts_with(b"parent ") {
        parents.push(link(&mut rest, b"parent ")?);
    }
    Some((tree, parents))
}

fn link(rest: &mut &[u8], name: &[u8]) -> Option<Oid> {
    let (id, after) = rest.strip_prefix(name)?.split_at_checked(40)?;
    *rest = after.strip_prefix(b"\n")?;
    Oid::from_str(std::str::from_utf8(id).ok()?).ok()
}

/// Takes the signature out. A header of several lines goes on wherever a line begins with a space.
///
/// git leaves every header whose name begins with `gpgsig` out of what is signed, so one beside the signature could say
/// anything: it is refused. So is a second signature, of which git would join the halves.
///
/// # Errors
/// The end of a sentence that begins with the commit.
pub(super) fn signed(raw: &[u8]) -> Result<Signed, Text> {
    let mut payload = Vec::with_capacity(raw.len());
    let mut signature: Option<Vec<u8>> = None;
    let mut inside = false;
    let mut rest = raw;
    while !rest.is_empty() && !rest.starts_with(b"\n") {
        let end = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(end);
        rest = after;
        let more = line.strip_prefix(b" ").filter(|_| inside);
        if let (Some(more), Some(text)) = (more, &mut signature) {
            text.extend_from_slice(more);
        } else if let Some(first) = line.strip_prefix(b"gpgsig ") {
            if signature.is_some() {
                return Err("carries more than one signature".into());
            }
            (signature, inside) = (Some(first.to_vec()), true);
        } else if line.starts_with(b"gpgsig") {
            return Err("carries a signature of a kind that is not looked at".into());
        } else {
            payload.extend_from_slice(line);
            inside = false;
        }
        if signature.as_ref().is_some_and(|text| text.len() > MAX_SIGNATURE) {
            return Err(format!("carries a signature of more than {MAX_SIGNATURE} bytes").into());
        }
    }
    payload.extend_from_slice(rest);
    let signature = signature.ok_or("carries no signature")?;
    let signature = String::from_utf8(signature).map_err(|_| "carries a signature that is no text")?;
    Ok(Signed { signature, payload })
}
