//! What the path of a container's log says, as kubelet lays logs out:
//! `/var/log/pods/<namespace>_<pod>_<uid>/<container>/<restart>.log`.

use std::path::Path;

/// The container that a log is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pod<'p> {
    /// The pod's namespace.
    pub namespace: &'p str,
    /// The pod's name.
    pub name: &'p str,
    /// Its uid; of a static pod, a hash of its manifest.
    pub uid: &'p str,
    /// The container's name; nothing tells those of init and ephemeral containers apart.
    pub container: &'p str,
    /// How often the container was started before.
    pub restart: u32,
}

impl<'p> Pod<'p> {
    /// `None` if the path is not one of kubelet's. Logs that were rotated are named like
    /// `0.log.20261126-101500`.
    #[must_use]
    pub fn of(path: &'p Path) -> Option<Self> {
        let container = path.parent()?;
        let folder = container.parent()?.file_name()?.to_str()?;
        // None of the three can have a `_` in it.
        let (namespace, rest) = folder.split_once('_')?;
        let (name, uid) = rest.split_once('_')?;
        let container = container.file_name()?.to_str()?;
        let (restart, _) = path.file_name()?.to_str()?.split_once(".log")?;
        let parts = [namespace, name, uid, container];
        if uid.contains('_') || parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        Some(Self { namespace, name, uid, container, restart: restart.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<(&str, &str, &str, &str, u32)>) {
        let seen = Pod::of(Path::new(path));
        let seen = seen.map(|pod| (pod.namespace, pod.name, pod.uid, pod.container, pod.restart));
        assert_eq!(seen, expected, "{path}");
    }

    #[test]
    fn paths_are_kubelets() {
        let uid = "3a6c7c8e-8a0e-4f4e-9b1f-0d7a5b1f2c3d";
        let path = format!("/var/log/pods/shop_web-7d9c.x-abcde_{uid}/app/0.log");
        check(&path, Some(("shop", "web-7d9c.x-abcde", uid, "app", 0)));
        let rotated = format!("/logs/shop_web_{uid}/app/12.log.20261126-101500");
        check(&rotated, Some(("shop", "web", uid, "app", 12)));
        check(&format!("{rotated}.gz"), Some(("shop", "web", uid, "app", 12)));
        let fixed = "/var/log/pods/kube-system_etcd-n1_f0a8c3/etcd/3.log";
        check(fixed, Some(("kube-system", "etcd-n1", "f0a8c3", "etcd", 3)));
    }

    #[test]
    fn other_paths_are_none() {
        for path in [
            "/var/log/app.log",
            "/var/log/pods/a_b/app/0.log",
            "/var/log/pods/a_b_c_d/app/0.log",
            "/var/log/pods/a__c/app/0.log",
            "/var/log/pods/a_b_c/app/previous.log",
            "/var/log/pods/a_b_c/app/0.txt",
            "0.log",
            "/",
        ] {
            check(path, None);
        }
    }

    proptest! {
        #[test]
        fn what_kubelet_writes_is_read(
            parts in prop::array::uniform4("[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?"),
            restart: u32,
        ) {
            let [namespace, name, uid, container] = &parts;
            let path = format!("/p/{namespace}_{name}_{uid}/{container}/{restart}.log");
            let expected = Pod { namespace, name, uid, container, restart };
            prop_assert_eq!(Pod::of(Path::new(&path)), Some(expected));
        }

        #[test]
        fn any_path_is_read_or_not(path in "[/_.a-z0-9log]{0,60}") {
            let _ = Pod::of(Path::new(&path));
        }
    }
}
