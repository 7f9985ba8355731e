//! The page's drawings, as SVG.

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::table::number;

/// A line, or a cloud of points.
pub struct Series {
    /// Which colour, by number.
    pub color: usize,
    /// The points.
    pub points: Vec<(f64, f64)>,
}

/// What a drawing shows.
pub struct Plot {
    /// What goes to the right.
    pub x: &'static str,
    /// What goes up.
    pub y: &'static str,
    /// Whether the axes are logarithmic: to the right, up.
    pub log: (bool, bool),
    /// Whether the points of a series are joined.
    pub joined: bool,
    /// What is drawn.
    pub series: Vec<Series>,
}

/// Width and height in pixels.
const SIZE: (u32, u32) = (620, 380);
/// Colours that the colour-blind can tell apart (Okabe and Ito 2008).
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

/// The colour of a series, as CSS writes it.
pub fn css(color: usize) -> String {
    let RGBColor(r, g, b) = COLORS[color % COLORS.len()];
    format!("rgb({r},{g},{b})")
}

impl Plot {
    /// The drawing; empty if there is nothing to draw.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        if points().next().is_none() {
            return String::new();
        }
        let (x0, x1) = span(points().map(|point| point.0), self.log.0);
        let (y0, y1) = span(points().map(|point| point.1), self.log.1);
        let mut svg = String::new();
        let drawn = {
            let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            match self.log {
                (false, false) => self.draw(&root, x0..x1, y0..y1),
                (true, false) => self.draw(&root, (x0..x1).log_scale(), y0..y1),
                (false, true) => self.draw(&root, x0..x1, (y0..y1).log_scale()),
                (true, true) => self.draw(&root, (x0..x1).log_scale(), (y0..y1).log_scale()),
            }
        };
        // Text instead of a drawing is still a report.
        if drawn.is_some() { svg } else { "<p>This drawing failed.</p>".into() }
    }

    fn draw<X, Y>(&self, root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>, x: X, y: Y) -> Option<()>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let mut builder = ChartBuilder::on(root);
        builder.margin(8).set_label_area_size(LabelAreaPosition::Left, 64);
        builder.set_label_area_size(LabelAreaPosition::Bottom, 44);
        let mut chart = builder.build_cartesian_2d(x, y).ok()?;
        let text = ("sans-serif", 13).into_font();
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.x).y_desc(self.y).label_style(text.clone()).axis_desc_style(text);
        mesh.light_line_style(TRANSPARENT).bold_line_style(RGBColor(128, 128, 128).mix(0.25));
        mesh.x_label_formatter(&|value| number(*value)).y_label_formatter(&|value| number(*value));
        mesh.x_labels(8).y_labels(8).draw().ok()?;
        for series in &self.series {
            let color = COLORS[series.color % COLORS.len()];
            if self.joined {
                chart
                    .draw_series(LineSeries::new(series.points.iter().copied(), color.stroke_width(2)))
                    .ok()?;
            }
            if !self.joined || series.points.len() <= 64 {
                let dots = series.points.iter().map(|&point| Circle::new(point, 3, color.filled()));
                chart.draw_series(dots).ok()?;
            }
        }
        root.present().ok()
    }
}

/// From where to where an axis goes.
fn span(values: impl Iterator<Item = f64> + Clone, log: bool) -> (f64, f64) {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(f64::NEG_INFINITY, f64::max);
    if log {
        let (low, high) = (low.max(1e-9), high.max(1e-9));
        (low / 1.3, high * 1.3)
    } else {
        let low = low.min(0.0);
        (low, if high > low { high + (high - low) * 0.05 } else { low + 1.0 })
    }
}
