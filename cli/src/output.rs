//! From documents to text. Pure: the width, the colours, the time zone and the time of day are handed in, so that golden
//! files can hold every picture.

pub mod look;
pub mod text;
pub mod time;

pub mod line;
pub mod table;

pub mod bill;
pub mod plan;
pub mod run;
pub mod tree;
pub mod changes;

pub mod groups;
pub mod health;
pub mod cluster;
pub mod lost_rows;
