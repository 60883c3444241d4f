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
