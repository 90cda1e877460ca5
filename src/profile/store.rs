//! The stores that a profile may choose.

/// The store for tokens between commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// Files that only the user can read.
    File,
    /// The keychain of the desktop session, or of the user on macOS and Windows.
    Keyring,
    /// The Linux kernel's keyring, until the machine restarts.
    KernelKeyring,
    /// No store: nothing is written.
    Memory,
    /// A record of Vault or OpenBao (KV version 2), which many machines share.
    Vault,
    /// A record that a command reads and replaces, which many machines share.
    Command,
}

impl Store {
    /// All stores. The first is the default.
    pub(super) const ALL: [Self; 6] = [
        Store::File,
        Store::Keyring,
        Store::KernelKeyring,
        Store::Memory,
        Store::Vault,
        Store::Command,
    ];

    /// Gives its name in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Store::File => "file",
            Store::Keyring => "keyring",
            Store::KernelKeyring => "kernel-keyring",
            Store::Memory => "memory",
            Store::Vault => "vault",
            Store::Command => "command",
        }
    }
}
