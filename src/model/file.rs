use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Reads a file that somebody else put there, up to `most` bytes and one more, by which it is seen to be too long.
///
/// # Errors
/// Those of reading, and that it is no regular file: a pipe would be waited for.
pub fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
