use super::login::Token;

/// The last lines that say something, on one line, without control characters and secrets.
pub fn last_words(stderr: &[u8], token: Option<&Token>) -> String {
    const LINES: usize = 4;
    const CHARACTERS: usize = 300;
    /// Says nothing that the lines before it do not say.
    const NOISE: [&str; 2] = ["Please make sure you have the correct access rights", "and the repository exists."];
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<String> = text
        .split(['\n', '\r'])
        .map(|line| clean(line, token).trim().chars().take(CHARACTERS).collect())
        .filter(|line: &String| !line.is_empty() && !NOISE.contains(&line.as_str()))
        .collect();
    lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("; ")
}

/// Without control characters and secrets.
pub fn clean(text: &str, token: Option<&Token>) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    match token {
        // Whole first: the encoded form is another string than the plain one.
        Some(token) => text.replace(&token.basic, "***").replace(&token.plain, "***"),
        None => text,
    }
}

/// Whether git could not write what it fetched. What the other side says of its own disk comes behind `remote:`.
pub fn lacks_room(stderr: &[u8]) -> bool {
    const WORDS: [&str; 3] = ["No space left on device", "Disk quota exceeded", "Read-only file system"];
    let text = String::from_utf8_lossy(stderr);
    text.split(['\n', '\r'])
        .filter(|line| !line.trim_start().starts_with("remote:"))
        .any(|line| WORDS.iter().any(|words| line.contains(words)))
}
