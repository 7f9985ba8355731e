//! The parts that pages are made of: one file, no script, nothing fetched.

use std::fmt::Write;

use super::Interval;
use super::plot::{self, Plot};
use super::table::number;

/// How each page begins.
pub(super) const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n";
/// What stands behind its title.
pub(super) const STYLE_BEGINS: &str = ": figures</title>\n<style>\n";

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1b1b1f; --soft: #66666e; --paper: #fff; --line: #dcdce2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ec; --soft: #a0a0aa; --paper: #16161a; --line: #34343c; }
  svg, .key i { filter: invert(0.92) hue-rotate(180deg); }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1320px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .4rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; white-space: normal; vertical-align: bottom; }
td.text { text-align: left; white-space: normal; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr)); gap: 1.5rem; }
figure { margin: 0; } figure svg { width: 100%; height: auto; } figcaption { color: var(--soft); }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .6rem 0; }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em; }
";

/// A drawing with what it is called and what it shows.
pub(crate) type Drawing = (&'static str, &'static str, Plot);

/// The beginning of a page: its name, what it is about, under what conditions.
pub(crate) fn head(name: &str, about: &str, conditions: &str) -> String {
    let (name, about) = (escaped(name), escaped(about));
    format!(
        "{HEAD}<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{name}{STYLE_BEGINS}{STYLE}</style>\n<h1>{name}</h1>\n\
         <p>{about}</p>\n<p class=\"soft\">{conditions}</p>\n"
    )
}

/// A table: a heading and what it means for each column but the first, and the rows.
pub(crate) fn table(first: &str, heads: &[(&str, &str)], rows: &[Vec<String>]) -> String {
    let mut html = format!("<div class=\"wide\"><table>\n<tr><th>{first}");
    for (heading, about) in heads {
        let _ = write!(html, "<th title=\"{}\">{}", escaped(about), escaped(heading));
    }
    html.push('\n');
    for row in rows {
        let _ = writeln!(html, "<tr><td>{}", row.join("<td>"));
    }
    html.push_str("</table></div>\n");
    html
}

/// A figure as a cell; a dash if there is none.
pub(crate) fn cell(interval: Option<Interval>) -> String {
    interval.map_or("–".into(), |Interval { mean, half, .. }| match half {
        Some(half) if half > 0.0 => {
            format!("{} <span class=\"soft\">±{}</span>", number(mean), number(half))
        }
        _ => number(mean),
    })
}

/// Which colour is whose.
pub(crate) fn key<'a>(names: impl Iterator<Item = (&'a str, usize)>) -> String {
    let mut html = String::from("<div class=\"key\">");
    for (name, color) in names {
        let color = plot::css(color);
        let _ = write!(html, "<span><i style=\"background:{color}\"></i>{}</span>", escaped(name));
    }
    html.push_str("</div>\n");
    html
}

/// The drawings that have something to show.
pub(crate) fn drawings(drawings: &[Drawing]) -> String {
    let mut html = String::from("<div class=\"plots\">\n");
    for (title, caption, plot) in drawings {
        let svg = plot.svg();
        if !svg.is_empty() {
            let _ = writeln!(
                html,
                "<figure><h2>{title}</h2>\n{svg}\n<figcaption>{caption}</figcaption></figure>"
            );
        }
    }
    html.push_str("</div>\n");
    html
}

/// What the columns mean, and the end of the page.
pub(crate) fn tail(heads: &[(&str, &str)]) -> String {
    let mut html = String::from("<h2>What the columns mean</h2>\n<table>\n");
    for (heading, about) in heads {
        let _ = writeln!(html, "<tr><td>{}<td class=\"text\">{}", escaped(heading), escaped(about));
    }
    html.push_str("</table>\n</html>\n");
    html
}

/// Text as HTML writes it.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
