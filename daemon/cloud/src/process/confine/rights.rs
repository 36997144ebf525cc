//! What a process of root's keeps of root's rights: those that container engines leave it. It can't load modules, reach hardware, trace, or
//! change the machine's network and clock.

use caps::{CapSet, Capability};

const KEPT: [Capability; 14] = [
    Capability::CAP_AUDIT_WRITE,
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_SETUID,
    Capability::CAP_SYS_CHROOT,
];

/// Takes the rest from what this thread starts. One that the daemon itself may not give up is not there to be had, or was left by whoever
/// has confined the daemon.
pub(super) fn give_up() {
    for capability in caps::all().into_iter().filter(|c| !KEPT.contains(c)) {
        if caps::has_cap(None, CapSet::Bounding, capability).is_ok_and(|has| has) {
            let _ = caps::drop(None, CapSet::Bounding, capability);
        }
    }
    let _ = caps::clear(None, CapSet::Ambient);
    let _ = caps::clear(None, CapSet::Inheritable);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_starts_has_no_rights_to_the_machine() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let started = || {
            give_up();
            std::process::Command::new("cat")
                .arg("/proc/self/status")
                .output()
        };
        let output = std::thread::spawn(started).join().unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let effective = text
            .lines()
            .find_map(|l| l.strip_prefix("CapEff:"))
            .unwrap()
            .trim();
        let effective = u64::from_str_radix(effective, 16).unwrap();
        let has = |c: Capability| effective & c.bitmask() != 0;
        assert!(
            has(Capability::CAP_CHOWN) && has(Capability::CAP_NET_BIND_SERVICE),
            "{effective:x}"
        );
        for gone in [
            Capability::CAP_SYS_MODULE,
            Capability::CAP_SYS_ADMIN,
            Capability::CAP_SYS_RAWIO,
            Capability::CAP_SYS_PTRACE,
        ] {
            assert!(!has(gone), "{gone} {effective:x}");
        }
    }
}
