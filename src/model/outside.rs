//! How everything that speaks to the outside gets there: the git child, the forge's client, the AWS SDKs. The environment says it,
//! it is read once at the edge, and all go by the same.

use std::{ffi::OsString, fmt, path::PathBuf};

/// What is reached directly, whatever a proxy is for: this machine, and the services of the cloud that answer this machine alone
/// (metadata, credentials of containers).
const NEVER: [&str; 7] =
    ["localhost", "127.0.0.0/8", "::1", "169.254.169.254", "fd00:ec2::254", "169.254.170.2", "169.254.170.23"];

/// Proxies, and the authorities that are trusted beside or in place of the system's.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Outside {
    /// The proxy for `https`, as an address with `http` or `https`. It may hold a password.
    https: Option<String>,
    /// The proxy for `http`.
    http: Option<String>,
    /// What is reached directly, besides what always is: `corp.example,10.0.0.0/8`.
    no: String,
    /// A file of certificates in PEM that is trusted in place of the system's.
    pub authorities: Option<PathBuf>,
    /// A folder of such files.
    pub folder: Option<PathBuf>,
}

impl Outside {
    /// By what the environment has under a name: `https_proxy`, `http_proxy`, `all_proxy`, `no_proxy`, in small letters first, as
    /// curl has it; `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    ///
    /// # Errors
    /// A sentence that names the variable, and says what to write. It never repeats the value, which may hold a password.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        let given = |name: &str| {
            let upper = name.to_ascii_uppercase();
            // As for a CGI, where a header `Proxy:` would set it, only the small one counts for http.
            let names = if name == "http_proxy" { vec![name] } else { vec![name, upper.as_str()] };
            let found = names.into_iter().find_map(|name| Some((name.to_owned(), variable(name)?)));
            found.filter(|(_, value)| !value.is_empty())
        };
        let proxy = |name: &str| {
            let Some((name, value)) = given(name).or_else(|| given("all_proxy")) else { return Ok(None) };
            let value = value.to_str().ok_or_else(|| bad(&name))?.trim();
            let whole = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
            let (scheme, rest) = whole.split_once("://").unwrap_or_default();
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default().rsplit('@').next().unwrap_or_default();
            let good = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
                && !host.is_empty()
                && !host.starts_with(':')
                && whole.chars().all(|c| c.is_ascii_graphic());
            if good { Ok(Some(whole)) } else { Err(bad(&name)) }
        };
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let (authorities, folder) = (path("SSL_CERT_FILE"), path("SSL_CERT_DIR"));
        for (name, path) in [("SSL_CERT_FILE", &authorities), ("SSL_CERT_DIR", &folder)] {
            if path.as_ref().is_some_and(|path| !path.is_absolute()) {
                return Err(format!("{name} is an absolute path: write `/etc/ssl/corp/ca.pem`, or remove it"));
            }
        }
        let no = given("no_proxy").map_or_else(String::new, |(_, value)| value.to_string_lossy().into_owned());
        Ok(Self { https: proxy("https_proxy")?, http: proxy("http_proxy")?, no, authorities, folder })
    }

    /// The proxy for `https`.
    pub fn proxy(&self) -> Option<&str> {
        self.https.as_deref()
    }

    /// What is reached without a proxy, as `no_proxy` has it.
    pub fn direct(&self) -> String {
        let given = self.no.split([',', ' ']).map(str::trim).filter(|one| !one.is_empty());
        given.chain(NEVER).collect::<Vec<_>>().join(",")
    }

    /// What a child needs in its own, otherwise empty environment: names for curl, OpenSSL and git.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let text = |name, value: &Option<String>| value.as_ref().map(|value| (name, value.into()));
        let path = |name, value: &Option<PathBuf>| value.as_ref().map(|value| (name, value.into()));
        let all = [
            text("https_proxy", &self.https),
            text("http_proxy", &self.http),
            path("SSL_CERT_FILE", &self.authorities),
            path("GIT_SSL_CAINFO", &self.authorities),
            path("GIT_PROXY_SSL_CAINFO", &self.authorities),
            path("SSL_CERT_DIR", &self.folder),
            path("GIT_SSL_CAPATH", &self.folder),
        ];
        let proxied = self.https.is_some() || self.http.is_some();
        all.into_iter().flatten().chain(proxied.then(|| ("no_proxy", self.direct().into()))).collect()
    }
}

fn bad(name: &str) -> String {
    format!(
        "{name} is no address of a proxy: write `http://proxy.corp.example:3128` (or `https://`, no others), or remove it"
    )
}

/// Without addresses: they may hold passwords.
impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { https, http, no, authorities, folder } = self;
        let mut shown = f.debug_struct("Outside");
        shown.field("https", &https.is_some()).field("http", &http.is_some()).field("no", no);
        shown.field("authorities", authorities).field("folder", folder).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&str, &str)]) -> Result<Outside, String> {
        Outside::read(|name| given.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_environment_is_read_as_curl_reads_it() {
        let proxy = |given: &[(&str, &str)]| read(given).unwrap().proxy().map(str::to_owned);
        assert_eq!(proxy(&[]), None);
        assert_eq!(proxy(&[("HTTPS_PROXY", "http://a:1")]).as_deref(), Some("http://a:1"));
        assert_eq!(proxy(&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "b:2")]).as_deref(), Some("http://b:2"));
        assert_eq!(proxy(&[("ALL_PROXY", "https://u:p@a")]).as_deref(), Some("https://u:p@a"));
        assert_eq!(proxy(&[("HTTP_PROXY", "http://a:1"), ("https_proxy", "")]), None);
        for bad in [
            "socks5://a:1",
            "socks5h://u:hunter2@a",
            "http://",
            "http://:3128",
            "http://hunter2@",
            "a b",
            "http://a\nb",
        ] {
            let said = read(&[("HTTPS_PROXY", bad)]).unwrap_err();
            assert!(said.starts_with("HTTPS_PROXY is no address") && !said.contains("hunter2"), "{bad}: {said}");
        }
        assert!(read(&[("SSL_CERT_FILE", "ca.pem")]).unwrap_err().contains("absolute"));
    }

    #[test]
    fn what_answers_this_machine_alone_is_never_asked_through_a_proxy() {
        let outside = read(&[("HTTPS_PROXY", "u:hunter2@a:1"), ("NO_PROXY", "corp.example, 10.0.0.0/8")]).unwrap();
        let direct = outside.direct();
        assert!(
            direct.starts_with("corp.example,10.0.0.0/8,localhost,") && direct.contains(",169.254.169.254,"),
            "{direct}"
        );
        let environment = outside.environment();
        assert!(environment.contains(&("https_proxy", "http://u:hunter2@a:1".into())), "{environment:?}");
        assert!(environment.contains(&("no_proxy", direct.into())));
        assert!(!format!("{outside:?}").contains("hunter2"));
        assert_eq!(read(&[]).unwrap().environment(), []);
    }
}
