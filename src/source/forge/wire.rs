//! The connection to a forge: by itself, or through a proxy that is asked for a tunnel, in which the forge alone is spoken to.

use std::path::Path;

use http_body_util::Empty;
use hyper::{
    Request, Response, Uri,
    body::{Bytes, Incoming},
};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{
            Client, Error,
            connect::{HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::Matcher,
    },
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem, pem::PemObject},
};

use super::http::Limits;
use crate::model::Outside;

type Body = Empty<Bytes>;

/// Kept open between questions.
#[derive(Debug)]
pub enum Wire {
    Direct(Box<Client<HttpsConnector<HttpConnector>, Body>>),
    /// The proxy sees the name of the forge and nothing else. `proxy`: its host, for people.
    Through {
        proxy: String,
        client: Box<Client<HttpsConnector<Tunnel<HttpsConnector<HttpConnector>>>, Body>>,
    },
}

impl Wire {
    pub fn new(api: &Uri, outside: &Outside, limits: &Limits) -> Result<Self, String> {
        let secure = api.scheme_str() == Some("https");
        let trust = trust(secure, outside)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limits.connect));
        let https = |trust| HttpsConnectorBuilder::new().with_tls_config(trust).https_or_http().enable_http1();
        let pool = || {
            let mut client = Client::builder(TokioExecutor::new());
            client.pool_max_idle_per_host(1);
            client
        };
        let matcher = Matcher::builder().https(outside.proxy().unwrap_or_default()).no(outside.direct()).build();
        let Some(proxy) = matcher.intercept(api) else {
            return Ok(Self::Direct(Box::new(pool().build(https(trust).wrap_connector(tcp)))));
        };
        let tunnel = Tunnel::new(proxy.uri().clone(), https(trust.clone()).wrap_connector(tcp));
        let tunnel = match proxy.basic_auth() {
            Some(login) => tunnel.with_auth(login.clone()),
            None => tunnel,
        };
        let name = proxy.uri().host().unwrap_or("the proxy").to_owned();
        Ok(Self::Through { proxy: name, client: Box::new(pool().build(https(trust).wrap_connector(tunnel))) })
    }

    pub async fn request(&self, request: Request<Body>) -> Result<Response<Incoming>, Error> {
        match self {
            Self::Direct(client) => client.request(request).await,
            Self::Through { client, .. } => client.request(request).await,
        }
    }

    /// Which way it goes, as the end of "cannot be reached".
    pub fn way(&self) -> String {
        match self {
            Self::Direct(_) => String::new(),
            Self::Through { proxy, .. } => format!(" through the proxy {proxy}"),
        }
    }
}

/// By what a forge, or a proxy with `https`, is known: what the system trusts, or what the environment names in its place.
fn trust(secure: bool, outside: &Outside) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS cannot be used: {e}"))?;
    let builder = match named(outside)? {
        Some(roots) => builder.with_root_certificates(roots),
        None if secure => builder
            .with_native_roots()
            .map_err(|e| format!("this system's certificates cannot be read, so that no forge can be known: {e}"))?,
        // Nothing to be known: it is this machine.
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    Ok(builder.with_no_client_auth())
}

/// The authorities of `SSL_CERT_FILE` and `SSL_CERT_DIR`, if there are any such.
fn named(outside: &Outside) -> Result<Option<RootCertStore>, String> {
    let Outside { authorities, folder, .. } = outside;
    if authorities.is_none() && folder.is_none() {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    let mut take = |path: &Path| -> Result<(), pem::Error> {
        let found = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
        roots.add_parsable_certificates(found);
        Ok(())
    };
    if let Some(file) = authorities {
        take(file)
            .map_err(|e| format!("SSL_CERT_FILE {}: {e}: it is a file of certificates in PEM", file.display()))?;
    }
    if let Some(folder) = folder {
        let entries = std::fs::read_dir(folder).map_err(|e| format!("SSL_CERT_DIR {}: {e}", folder.display()))?;
        // Whatever else lies there is nobody's authority.
        entries.flatten().filter(|entry| entry.path().is_file()).for_each(|entry| drop(take(&entry.path())));
    }
    if roots.is_empty() {
        return Err("SSL_CERT_FILE and SSL_CERT_DIR hold no certificate, so that no forge can be known: put the authority's there, in PEM, or remove them".into());
    }
    Ok(Some(roots))
}
