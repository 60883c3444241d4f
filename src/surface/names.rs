//! The names that a grant may hold, one ASCII allow-list each. What is not listed cannot pass: no homoglyph, no bidi or
//! zero-width character, no NUL, no line end, no quote, and no `*` or `?`, which EC2's tag filters read as wildcards.

use super::model::Pattern;

/// A domain user in NetBIOS form. The user part is a sAMAccountName.
pub static WINDOWS_USER: Pattern = Pattern::new(
    "a Windows user in NetBIOS form",
    r"^[A-Za-z0-9][A-Za-z0-9_-]{0,14}\\[A-Za-z0-9_]([A-Za-z0-9._-]{0,18}[A-Za-z0-9_-])?$",
    36,
    "write `DOMAIN\\user`, such as `CORP\\jdoe`: a domain of at most 15 characters without dots, a user of at most 20; \
     neither `jdoe@corp.example` nor `corp.example\\jdoe`",
);

/// An IAM user's or role's name, without its path.
pub static IAM_NAME: Pattern = Pattern::new(
    "an IAM name",
    r"^[A-Za-z0-9_+=,.@-]{1,64}$",
    64,
    "write the name alone, without path or ARN, spelled as IAM has it: 1 to 64 of letters, digits and `_+=,.@-`",
);

/// An IAM group's name, without its path.
pub static IAM_GROUP: Pattern = Pattern::new(
    "an IAM group's name",
    r"^[A-Za-z0-9_+=,.@-]{1,128}$",
    128,
    "write the name alone, without path or ARN, spelled as IAM has it: 1 to 128 of letters, digits and `_+=,.@-`",
);

/// An AWS managed policy's name (with its path, if it has one) or any managed policy's ARN.
pub static POLICY: Pattern = Pattern::new(
    "a managed policy",
    r"^(arn:aws(-[a-z]+)*:iam::([0-9]{12}|aws):policy/)?([A-Za-z0-9_+=,.@-]+/)*[A-Za-z0-9_+=,.@-]{1,128}$",
    700,
    "write an AWS managed policy's name, such as `ReadOnlyAccess` or `job-function/ViewOnlyAccess`, or a policy's ARN, \
     such as `arn:aws:iam::123456789012:policy/OpsRead`",
);

/// A permission set's name.
pub static PERMISSION_SET: Pattern = Pattern::new(
    "a permission set's name",
    r"^[A-Za-z0-9_+=,.@-]{1,32}$",
    32,
    "write its name, such as `PowerUser`: 1 to 32 of letters, digits and `_+=,.@-`",
);

/// An Identity Center user's name: often, but not always, a mail address.
pub static SSO_USER: Pattern = Pattern::new(
    "an Identity Center user's name",
    r"^[A-Za-z0-9][A-Za-z0-9_+=,.@-]{0,127}$",
    128,
    "write the user name, such as `jdoe@corp.example`: letters, digits and `_+=,.@-`, beginning with a letter or digit",
);

/// An Identity Center group's display name.
pub static SSO_GROUP: Pattern = Pattern::new(
    "an Identity Center group's name",
    r"^[A-Za-z0-9]([A-Za-z0-9_+=,.@ -]{0,126}[A-Za-z0-9_+=,.@-])?$",
    128,
    "write the display name, such as `Cloud Operators`: letters, digits, `_+=,.@-` and spaces between them",
);

/// A tag's key.
pub static TAG_KEY: Pattern = Pattern::new(
    "a tag's key",
    r"^[A-Za-z0-9_.:/=+@-]([A-Za-z0-9_.:/=+@ -]{0,126}[A-Za-z0-9_.:/=+@-])?$",
    128,
    "write 1 to 128 of letters, digits, `_.:/=+@-` and spaces between them",
);

/// A tag's value.
pub static TAG_VALUE: Pattern = Pattern::new(
    "a tag's value",
    r"^[A-Za-z0-9_.:/=+@-]([A-Za-z0-9_.:/=+@ -]{0,254}[A-Za-z0-9_.:/=+@-])?$",
    256,
    "write 1 to 256 of letters, digits, `_.:/=+@-` and spaces between them; there are no wildcards",
);

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&Pattern; 9] =
        [&WINDOWS_USER, &IAM_NAME, &IAM_GROUP, &POLICY, &PERMISSION_SET, &SSO_USER, &SSO_GROUP, &TAG_KEY, &TAG_VALUE];

    #[test]
    fn every_pattern_is_anchored_and_compiles() {
        for pattern in ALL {
            assert!(pattern.regex.starts_with('^') && pattern.regex.ends_with('$'), "{}", pattern.what);
            let plain = if std::ptr::eq(pattern, &WINDOWS_USER) { r"CORP\jdoe" } else { "jdoe" };
            assert!(pattern.matches(plain), "{}", pattern.what);
        }
    }

    #[test]
    fn nothing_unseen_passes_any_pattern() {
        for pattern in ALL {
            for (before, after) in [
                ("", "\n"),
                ("", "\r"),
                ("", "\0"),
                ("\0", ""),
                (" ", ""),
                ("", " "),
                ("\u{feff}", ""),
                ("", "\u{200b}"),
                ("", "\u{202e}eodj"),
                ("", "\u{0435}"), // Cyrillic e
                ("", "\u{ff41}"), // full-width a
                ("", "'"),
                ("", "\u{2019}"),
                ("", "\""),
                ("", "`"),
                ("", ";x"),
                ("", "*"),
                ("", "?"),
                ("", "$(x)"),
                ("", "{{x}}"),
                ("", "\t"),
                ("", "\u{7f}"),
                ("", " / x\\"),
            ] {
                let core = if std::ptr::eq(pattern, &WINDOWS_USER) { r"CORP\jdoe" } else { "jdoe" };
                let text = format!("{before}{core}{after}");
                assert!(!pattern.matches(&text), "{} lets {text:?} pass", pattern.what);
            }
            assert!(!pattern.matches(""), "{}", pattern.what);
            assert!(!pattern.matches(&"a".repeat(pattern.longest + 1)), "{}", pattern.what);
        }
    }

    fn table(pattern: &Pattern, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(pattern.matches(text), "{text:?} is not {}", pattern.what);
        }
        for text in bad {
            assert!(!pattern.matches(text), "{text:?} passed as {}", pattern.what);
        }
    }

    #[test]
    fn windows_users() {
        let (domain, user) = ("D".repeat(15), "u".repeat(20));
        let (longest, domain16, user21) =
            (format!(r"{domain}\{user}"), format!(r"D{domain}\jdoe"), format!(r"CORP\u{user}"));
        table(
            &WINDOWS_USER,
            &[r"CORP\jdoe", r"corp\J.Doe", r"EU-1\svc_build-2", r"C\_", &longest],
            &[
                "jdoe",
                "jdoe@corp.example",
                r"corp.example\jdoe",
                r"CORP\\jdoe",
                r"CORP\EU\jdoe",
                r"\jdoe",
                r"CORP\",
                r".\jdoe",
                "CORP/jdoe",
                r"CORP\j doe",
                r"CORP\jdoe.",
                r"CORP\.jdoe",
                r"NT AUTHORITY\SYSTEM",
                r"CORP\jdoe,CORP\x",
                r"CORP\host$",
                "CORP\\jd\u{43e}e",
                "СORP\\jdoe",
                &domain16,
                &user21,
            ],
        );
    }

    #[test]
    fn iam_names() {
        let (n64, n65, n128) = ("n".repeat(64), "n".repeat(65), "n".repeat(128));
        table(
            &IAM_NAME,
            &["jdoe", "OpsOnCall", "a_+=,.@-Z9", &n64],
            &["ops/OpsOnCall", "arn:aws:iam::123456789012:role/OpsOnCall", "Ops OnCall", "Ops:OnCall", "Öps", &n65],
        );
        table(&IAM_GROUP, &["Auditors", &n128], &["Aud/itors", "Aud itors"]);
        table(&PERMISSION_SET, &["PowerUser"], &["Power User", "Power/User", &n64]);
    }

    #[test]
    fn policies() {
        table(
            &POLICY,
            &[
                "ReadOnlyAccess",
                "job-function/ViewOnlyAccess",
                "arn:aws:iam::aws:policy/ReadOnlyAccess",
                "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
                "arn:aws-us-gov:iam::123456789012:policy/team/OpsRead",
            ],
            &[
                "arn:aws:iam::aws:role/ReadOnlyAccess",
                "arn:aws:iam::12345:policy/OpsRead",
                "arn:aws:iam::123456789012:policy/",
                "arn:aws:iam:us-east-1:aws:policy/X",
                "xarn:aws:iam::aws:policy/X",
                "/ReadOnlyAccess",
                "a//b",
                "ReadOnly Access",
                "ReadOnlyAccess:v1",
            ],
        );
    }

    #[test]
    fn people_groups_and_tags() {
        table(
            &SSO_USER,
            &["jdoe@corp.example", "jdoe", "J.Doe+x@corp.example"],
            &["@corp", "j doe", "user:jdoe", "j/d"],
        );
        table(&SSO_GROUP, &["oncall", "Cloud Operators", "AWS-Ops@corp.example"], &["a / b", "a/b", " a", "a "]);
        table(
            &TAG_KEY,
            &["AccessGroup", "aws:autoscaling:groupName", "team/app", "cost center"],
            &[r"a\b", "a{b", "a|b"],
        );
        table(&TAG_VALUE, &["JITAdmins", "10.0.0.1", "a b"], &["JIT*", "JIT?", r"a\b", "a,b"]);
    }
}
