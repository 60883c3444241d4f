//! The connections to AWS: one pool, and one set of trusted roots, for all accounts.

use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::model::Outside;

const TLS: Provider = Provider::Rustls(CryptoMode::AwsLc);

/// A client that goes through the proxy for `https`, if there is one. The roots are the system's, or those of `SSL_CERT_FILE` and
/// `SSL_CERT_DIR`, which the SDK reads itself. What is asked without TLS (the instance's metadata) goes through no proxy, whatever
/// `no_proxy` says.
pub fn client(outside: &Outside) -> Result<SharedHttpClient, String> {
    let Some(proxy) = outside.proxy() else { return Ok(Builder::new().tls_provider(TLS).build_https()) };
    // The address is not repeated: it may hold a password.
    let proxy = ProxyConfig::https(proxy).map_err(|_| "the proxy for https is no address".to_owned())?;
    let proxy = proxy.no_proxy(outside.direct());
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().tls_provider(TLS).proxy_config(proxy.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.build()
    }))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
        sync::mpsc::{Receiver, channel},
        time::Duration,
    };

    use aws_config::{BehaviorVersion, Region, retry::RetryConfig};
    use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};

    use super::*;

    /// Refuses everything; answers its port, and the first line and login of each question.
    fn listen() -> (u16, Receiver<(String, Option<String>)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let login = head.iter().find(|line| line.to_ascii_lowercase().starts_with("proxy-authorization: "));
                tell.send((head[0].clone(), login.cloned())).unwrap();
                stream.write_all(b"HTTP/1.1 403 So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            }
        });
        (port, told)
    }

    async fn ask(outside: &Outside, endpoint: Option<String>) -> String {
        let keys = Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests");
        let mut config = aws_config::SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .retry_config(RetryConfig::disabled())
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .http_client(client(outside).unwrap());
        config.set_endpoint_url(endpoint);
        let error = aws_sdk_sts::Client::new(&config.build()).get_caller_identity().send().await.unwrap_err();
        format!("{error:?}")
    }

    #[tokio::test]
    async fn aws_is_asked_through_the_proxy_and_what_has_no_tls_is_not() {
        let (port, asked) = listen();
        let outside = |no: &str| {
            let proxy = format!("http://corp:hunter2@127.0.0.1:{port}");
            let variable = |name: &str| match name {
                "https_proxy" | "http_proxy" | "all_proxy" => Some(proxy.clone().into()),
                "no_proxy" => Some(no.into()),
                _ => None,
            };
            Outside::read(variable).unwrap()
        };
        let patience = Duration::from_secs(20);
        let said = ask(&outside(""), None).await;
        let (line, login) = asked.recv_timeout(patience).unwrap_or_else(|_| panic!("{said}"));
        assert_eq!(line, "CONNECT sts.us-east-1.amazonaws.com:443 HTTP/1.1");
        assert_eq!(login.unwrap().split(' ').next_back(), Some("Y29ycDpodW50ZXIy"));
        // As the metadata service: plain, and asked directly.
        let (direct, heard) = listen();
        ask(&outside(""), Some(format!("http://127.0.0.1:{direct}"))).await;
        assert!(heard.recv_timeout(patience).unwrap().0.starts_with("POST / "));
        ask(&outside(""), Some("http://sts.invalid".into())).await;
        ask(&outside(".invalid"), Some("https://sts.invalid".into())).await;
        assert!(asked.try_recv().is_err(), "it went through the proxy");
    }
}
