//! Makes the program's own `getrandom` and `clock_gettime` visible to whoever looks them up by name.

fn main() {
    for symbol in ["getrandom", "clock_gettime"] {
        println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol={symbol}");
    }
}
