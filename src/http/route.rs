//! The way to servers: TLS, proxy and address family, as the library's client needs them.

use reqwest::{header::HeaderValue, redirect::Policy};

use super::{
    proxy::{Proxy, ProxyLogin, next_hop},
    resolver::{Family, Resolver},
    settings::Settings,
    timeouts::{self, Hop},
    tls,
};
use crate::url::Url;

/// More than any server sends. curl reads 5000, but room for them costs time with each head, and a hostile server may
/// send millions of heads (`1xx`).
pub(super) const MAX_HEADER_LINES: usize = 500;
/// The settings of the library's client.
pub(super) struct Route {
    tls: rustls::ClientConfig,
    user_agent: HeaderValue,
    pub(super) proxy: Option<Proxy>,
    pub(super) family: Option<Family>,
    /// The target of TCP connections.
    hop: Hop,
}

impl Route {
    pub(super) fn new(
        settings: &Settings,
        user_agent: &HeaderValue,
        family: Option<Family>,
    ) -> anyhow::Result<Self> {
        Ok(Route {
            tls: tls::config(settings)?,
            user_agent: user_agent.clone(),
            proxy: settings.proxy.clone(),
            family,
            hop: Hop::default(),
        })
    }

    /// Sets the target of the next TCP connection, for the probe.
    pub(super) fn notice_hop(&self, url: &Url) {
        let (host, port) = next_hop(self.proxy.as_ref(), url);
        self.hop.set(&host, port);
    }

    /// Builds the library's client.
    pub(super) fn client(&self, login: Option<&ProxyLogin>) -> anyhow::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .http1_only()
            .http1_title_case_headers()
            // Accept the headers that curl accepts.
            .http1_max_headers(MAX_HEADER_LINES)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .user_agent(&self.user_agent)
            .dns_resolver(Resolver(self.family))
            .connector_layer(timeouts::layer(self.hop.clone()));
        if let Some(family) = self.family {
            // The resolver limits names to one family. This limits literal addresses.
            builder = builder.local_address(family.any());
        }
        let proxy = self.proxy.as_ref();
        if let Some(proxy) = proxy.filter(|proxy| proxy.unknown_kind().is_none()) {
            let url = proxy.with_login(login);
            let proxy = reqwest::Proxy::all(url.expose()).map_err(reqwest::Error::without_url)?;
            builder = builder.proxy(proxy);
        }
        Ok(builder.build()?)
    }
}
