//! CREATE and DROP: tables, databases, logins.

use super::Parser;
use crate::answer::Value;
use crate::sql::syntax::{Expression, What};
use crate::world::SqlError;
use crate::world::log::TableColumn;

impl Parser<'_> {
    pub(super) fn create(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        if self.takes("DATABASE") {
            return Ok(What::CreateDatabase(self.name()?));
        }
        if self.takes("LOGIN") {
            let name = self.name()?;
            self.expect("WITH")?;
            self.expect("PASSWORD")?;
            self.expect_sign("=")?;
            return Ok(What::CreateLogin { name, password: self.text()? });
        }
        self.expect("TABLE")?;
        let table = self.dotted()?;
        self.expect_sign("(")?;
        let columns = self.list(Parser::column)?;
        self.expect_sign(")")?;
        let mut all: Vec<TableColumn> = Vec::new();
        for column in columns {
            match column {
                Defined::Column(column) => all.push(column),
                Defined::Key(names) => {
                    // Keys over several columns are not enforced here; one over one column is.
                    if let [name] = names.as_slice()
                        && let Some(column) = all.iter_mut().find(|column| column.name.eq_ignore_ascii_case(name))
                    {
                        column.unique = true;
                        column.nullable = false;
                    } else {
                        return Err(SqlError::unsupported("a key over several columns"));
                    }
                }
            }
        }
        Ok(What::CreateTable { table, columns: all })
    }

    fn column(&mut self) -> Result<Defined, SqlError> {
        if self.takes("CONSTRAINT") {
            self.name()?;
        }
        if self.is_any(&["PRIMARY", "UNIQUE"]) {
            self.key_words();
            self.expect_sign("(")?;
            let names = self.list(|parser| {
                let name = parser.name()?;
                let _ = parser.takes("ASC") || parser.takes("DESC");
                Ok(name)
            })?;
            self.expect_sign(")")?;
            return Ok(Defined::Key(names));
        }
        let name = self.name()?;
        let kind = self.type_name()?;
        let mut column = TableColumn { name, kind, nullable: true, unique: false, identity: false, default: None };
        loop {
            if self.takes_all(&["NOT", "NULL"]) {
                column.nullable = false;
            } else if self.takes("NULL") {
            } else if self.is_any(&["PRIMARY", "UNIQUE"]) {
                self.key_words();
                column.unique = true;
                column.nullable = false;
            } else if self.takes("IDENTITY") {
                column.identity = true;
                if self.takes_sign("(") {
                    let numbers = self.list(Parser::integer)?;
                    self.expect_sign(")")?;
                    if numbers != [1, 1] {
                        return Err(SqlError::unsupported("an identity that does not count from 1 by 1"));
                    }
                }
            } else if self.takes("CONSTRAINT") {
                self.name()?;
            } else if self.takes("DEFAULT") {
                column.default = Some(match self.expression()? {
                    Expression::Literal(value, _) => value,
                    Expression::Call { name, .. }
                        if name.last().is_some_and(|name| {
                            ["getdate", "getutcdate", "sysutcdatetime", "sysdatetime"]
                                .contains(&name.to_lowercase().as_str())
                        }) =>
                    {
                        // The moment of the insertion; see `table`.
                        Value::DateTime(i64::MIN)
                    }
                    _ => return Err(SqlError::unsupported("this default")),
                });
            } else {
                return Ok(Defined::Column(column));
            }
        }
    }

    fn key_words(&mut self) {
        for word in ["PRIMARY", "UNIQUE", "KEY", "CLUSTERED", "NONCLUSTERED"] {
            self.takes(word);
        }
    }

    pub(super) fn drop(&mut self) -> Result<What, SqlError> {
        self.at += 1;
        if self.takes_all(&["AVAILABILITY", "GROUP"]) {
            return Ok(What::DropGroup(self.name()?));
        }
        if self.takes("LOGIN") {
            return Ok(What::DropLogin(self.name()?));
        }
        if self.takes("DATABASE") {
            let if_exists = self.takes_all(&["IF", "EXISTS"]);
            return Ok(What::DropDatabase { names: self.list(Parser::name)?, if_exists });
        }
        self.expect("TABLE")?;
        let if_exists = self.takes_all(&["IF", "EXISTS"]);
        Ok(What::DropTable { table: self.dotted()?, if_exists })
    }
}

enum Defined {
    Column(TableColumn),
    Key(Vec<String>),
}
