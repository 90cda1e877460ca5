//! git-remote-bbtoken
pub mod address;
pub mod clock;
pub mod config;
pub mod failure;
pub mod hangup;
pub mod http;
pub mod manage;
pub mod oauth;
pub mod profile;
pub mod relay;
pub mod report;
pub mod secret;
pub mod token;
pub mod wire;
