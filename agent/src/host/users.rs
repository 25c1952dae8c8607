//! The host's users, as its name service knows them (files, LDAP, …).
//!
//! Apart because the C library's lookups need care with buffers. It must never run between fork and exec: it allocates.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::ptr;

/// A user with all groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: String,
    pub groups: Vec<u32>,
}

/// Looks a user up by name, or by number where the text is one and no such name exists.
pub fn by_name(name: &str) -> Option<User> {
    let c_name = CString::new(name).ok()?;
    // SAFETY: the pointers are valid for the call; `lookup` provides the buffers.
    lookup(|entry, buffer, length, found| unsafe { libc::getpwnam_r(c_name.as_ptr(), entry, buffer, length, found) })
        .or_else(|| name.parse().ok().and_then(by_id))
}

/// Looks a user up by number.
pub fn by_id(uid: u32) -> Option<User> {
    // SAFETY: as above.
    lookup(|entry, buffer, length, found| unsafe { libc::getpwuid_r(uid, entry, buffer, length, found) })
}

fn lookup(
    call: impl Fn(*mut libc::passwd, *mut libc::c_char, libc::size_t, *mut *mut libc::passwd) -> libc::c_int,
) -> Option<User> {
    let mut buffer: Vec<libc::c_char> = vec![0; 4096];
    loop {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        let error = call(entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut found);
        if error == libc::ERANGE && buffer.len() < 1 << 20 {
            buffer.resize(buffer.len() * 4, 0);
            continue;
        }
        if error != 0 || found.is_null() {
            return None;
        }
        // SAFETY: `found` is not null, so the entry was filled in; its strings lie in `buffer`, which still lives.
        let entry = unsafe { entry.assume_init() };
        let text = |pointer: *const libc::c_char| unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned();
        let name = text(entry.pw_name);
        let groups = groups_of(unsafe { CStr::from_ptr(entry.pw_name) }, entry.pw_gid);
        return Some(User { name, uid: entry.pw_uid, gid: entry.pw_gid, home: text(entry.pw_dir), groups });
    }
}

fn groups_of(name: &CStr, gid: u32) -> Vec<u32> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut count = groups.len() as libc::c_int;
        // SAFETY: `groups` has room for `count` entries.
        let fits = unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &mut count) } != -1;
        if fits || groups.len() >= 65_536 {
            groups.truncate(usize::try_from(count).unwrap_or_default());
            return groups;
        }
        groups.resize(groups.len() * 4, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number_and_nobody_else_by_a_made_up_name() {
        let root = by_name("root").unwrap();
        assert_eq!((root.uid, root.gid, root.home.as_str()), (0, 0, "/root"));
        assert_eq!(by_name("0").as_ref(), Some(&root));
        assert!(root.groups.contains(&0));
        assert_eq!(by_name("no-such-user-here"), None);
    }
}
