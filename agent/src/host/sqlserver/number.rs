//! What SQL Server's error numbers ask of whoever meets them. A table, and nothing else: no statement, no state.
//!
//! Apart because the numbers are the only part of an error that can be relied on; texts are translated. From Microsoft's list
//! of database engine errors; the classes are ours. A number that is not here is nobody's permission to go on.

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It passes: ask again after a pause.
    Retry,
    /// The wrong instance, or the wrong state for it: look at the whole group again.
    Place,
    /// A person decides.
    Operator,
    /// Rights or configuration: no retry helps.
    Permission,
    /// Somebody's session is in the way.
    Kill,
    /// Nothing went wrong.
    Information,
    /// The session is over; what it was doing may or may not have happened.
    Ended,
    Unlisted,
}

/// The class of a number.
pub fn class(number: u32) -> Class {
    match number {
        // Reaching a database.
        921 | 922 | 952 | 982 | 983 | 1205 | 1222 | 3948 | 17187 | 17142 | 18401 => Class::Retry,
        927 | 954 | 976 | 978 | 979 | 3906 => Class::Place,
        942 | 945 | 988 => Class::Operator,
        911 | 916 | 4060 | 15151 | 18452 | 18456 | 18470 | 18486 | 18487 | 18488 => Class::Permission,
        924 => Class::Kill,
        596 | 6005 | 233 | 10053 | 10054 => Class::Ended,
        // Rights by name.
        229 | 230 | 262 | 297 | 300 | 371 | 5011 | 6102 | 14260 | 15247 | 21089 => Class::Permission,
        // Availability groups.
        35220
        | 35250
        | 35256
        | 41104
        | 41113
        | 41121
        | 41131
        | 41138
        | 41149
        | 41151
        | 41163..=41166
        | 41181
        | 41183
        | 41184
        | 41190
        | 47106
        | 35239 => Class::Retry,
        35240 | 35242 | 35244 | 35251 | 35252 | 35279 | 41100 | 41106 | 41140 | 41158 | 47109 | 47122 | 19504 => {
            Class::Place
        }
        1408 | 1412 | 1478 | 35253 | 41125 | 41134 | 41142..=41144 | 41150 | 41160 => Class::Operator,
        35208 | 35210..=35213 | 35221 | 35248 | 41105 | 41148 | 41167 | 41191 | 47100..=47104 | 47115 => {
            Class::Permission
        }
        35201 | 35206 | 35262 | 35264 | 35265 | 35278 | 35285 | 35299 | 1480 | 41074 | 41075 | 41122 | 41133
        | 41145 | 41185 | 47116 | 47119 => Class::Information,
        // Backup, restore, sessions, log shipping.
        3202 | 3203 | 3201 | 4319 | 5059 | 22022 => Class::Retry,
        3036 | 3059 | 3104 | 3117 | 3118 | 3180 | 3752 | 4305 | 5052 | 5063 | 32007 | 32009 | 32010 | 32023 | 32025 => {
            Class::Place
        }
        3159 | 3206 | 3241 | 4312 => Class::Operator,
        3021 | 3102 | 3141 | 3154 | 3169 | 3170 | 4208 | 4214 | 6104 | 6107 | 6115 | 14262 => Class::Permission,
        3101 | 5061 | 5064 => Class::Kill,
        3014 | 3153 | 3211 | 3621 | 4326 | 5060 | 6101 | 6106 | 6109 | 6120 | 32014 | 14420 | 14421 => {
            Class::Information
        }
        _ => Class::Unlisted,
    }
}

/// The login may not do it, as opposed to a configuration that forbids it.
pub fn is_right(number: u32) -> bool {
    matches!(number, 229 | 230 | 262 | 297 | 300 | 371 | 916 | 5011 | 6102 | 14260 | 15151 | 15247 | 21089)
}

/// The login itself was refused.
pub fn is_login(number: u32) -> bool {
    matches!(number, 18452 | 18456 | 18470 | 18486..=18488)
}

/// A database that cannot be reached in the state that it is in.
pub fn is_database(number: u32) -> bool {
    matches!(number, 911 | 921 | 922 | 924 | 927 | 942 | 945 | 952 | 954 | 976 | 978 | 979 | 982 | 983 | 988 | 4060)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ask_for_what_the_list_says() {
        let table: &[(Class, &[u32])] = &[
            (Class::Retry, &[921, 983, 1205, 1222, 35250, 41104, 41113, 41131, 41149, 41190]),
            (Class::Place, &[927, 976, 35240, 41140, 47122]),
            (Class::Operator, &[988, 41125, 41134, 41142, 41160]),
            (Class::Permission, &[911, 18456, 15151, 300, 297, 229, 6102, 14260, 35208, 41105, 47104]),
            (Class::Kill, &[924, 3101, 5061, 5064]),
            (Class::Information, &[41122, 41185, 3153, 6106, 4326, 32014]),
            (Class::Ended, &[596]),
            (Class::Unlisted, &[50000, 3013, 5069, 102, 207]),
        ];
        for (expected, numbers) in table {
            for number in *numbers {
                assert_eq!(class(*number), *expected, "{number}");
            }
        }
    }

    #[test]
    fn what_says_that_it_happened_already_is_never_retried() {
        for number in [41122, 3153, 6106, 4326] {
            assert_eq!(class(number), Class::Information, "{number}");
        }
    }
}
