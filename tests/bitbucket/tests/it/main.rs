//! A Bitbucket on loopback, asked by real git and by a small HTTP client.

mod authorize;
mod client;
mod command;
mod control;
mod data_center;
mod git;
mod oauth;
mod rest;
mod script;
mod support;
