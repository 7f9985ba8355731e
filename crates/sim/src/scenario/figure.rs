//! `[[figure]]`: what a scenario is to reproduce.

use super::check::{Blame, each};
use super::choice::Choice;
use super::file::{FigureTable, File};
use crate::report::{Claim, Figure, WITHIN, column};

/// The figures of a file whose overlays are `choices`.
pub fn figures(file: &File, choices: &[Choice]) -> Result<Vec<Figure>, Blame> {
    each("figure", &file.figure, |table| figure(table, choices))
}

fn figure(table: &FigureTable, choices: &[Choice]) -> Result<Figure, Blame> {
    let Some(column) = column(&table.column) else {
        return Err((
            "column".into(),
            format!("there is no column {:?}; `columns` may name any", table.column),
        ));
    };
    if let Some(row) = table.row.as_ref().filter(|row| choices.iter().all(|one| one.label() != **row)) {
        let labels: Vec<String> = choices.iter().map(Choice::label).collect();
        return Err(("row".into(), format!("there is no row {row:?}; there are {}", labels.join(", "))));
    }
    Ok(Figure { column, row: table.row.clone(), claim: claim(table)? })
}

fn claim(table: &FigureTable) -> Result<Claim, Blame> {
    let within = table.within.unwrap_or(WITHIN);
    if !(0.0..=0.5).contains(&within) {
        return Err(("within".into(), format!("within is {within}, but must be from 0 to 0.5")));
    }
    if table.networks == Some(0) {
        return Err(("networks".into(), "a number was published of one network at least".into()));
    }
    for (key, is_there) in [("within", table.within.is_some()), ("networks", table.networks.is_some())] {
        if is_there && table.published.is_none() {
            return Err((key.into(), format!("{key} is about what was published: a bound must just hold")));
        }
    }
    for (key, bound) in [("at_least", table.at_least), ("at_most", table.at_most)] {
        if bound.is_some_and(f64::is_nan) {
            return Err((key.into(), format!("{key} is no number")));
        }
    }
    match (&table.published, table.at_least, table.at_most) {
        (Some(text), None, None) => Claim::published(text, within, table.networks).ok_or_else(|| {
            (
                "published".into(),
                format!("{text:?} is no number as a paper prints it, such as \"5.88\" or \"1.3-1.4\""),
            )
        }),
        (None, None, None) | (Some(_), ..) => {
            Err((String::new(), "say either what was published, or at_least and at_most".into()))
        }
        (None, Some(low), Some(high)) if low > high => {
            Err(("at_least".into(), format!("at_least is {low}, but at_most only {high}")))
        }
        (None, low, high) => Ok(Claim::Bound(low, high)),
    }
}
