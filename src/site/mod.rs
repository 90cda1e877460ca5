//! What differs between Bitbucket Cloud and Bitbucket Data Center. Only this room knows which one it is.
//!
//! The setting `kind` of a profile decides. The helper never guesses it.

mod account;
mod answer;
mod authorization;
mod cloud;
mod data_center;
mod differences;
mod health;
mod pages;

use std::ops::Deref;

pub(crate) use account::{Account, Owner, untold};
pub(crate) use answer::Answer;
pub(crate) use authorization::basic;
pub(crate) use differences::Site;
pub(crate) use health::{Level, Reply, Sent, Subject};

/// A kind of Bitbucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    /// Bitbucket Cloud.
    Cloud,
    /// Bitbucket Data Center, or the older Bitbucket Server.
    DataCenter,
}

impl Product {
    /// The values of `kind`. The first is the default.
    ///
    /// They are in the order of the variants.
    pub(crate) const CHOICES: [(&'static str, Self); 2] = [
        ("cloud", Product::Cloud),
        ("datacenter", Product::DataCenter),
    ];

    /// Gives its value of `kind`.
    pub(crate) fn name(self) -> &'static str {
        Self::CHOICES[self as usize].0
    }
}

impl Deref for Product {
    type Target = dyn Site;

    fn deref(&self) -> &Self::Target {
        match self {
            Product::Cloud => &cloud::Cloud,
            Product::DataCenter => &data_center::DataCenter,
        }
    }
}
