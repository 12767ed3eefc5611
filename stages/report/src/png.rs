//! A picture as pixels: SVG is drawn with a font that is part of the program, so the same everywhere.

use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb::Database};

/// Pixels for one of the picture: sharp on screens with small ones.
const SCALE: f32 = 2.0;

/// Draws pictures; what its font lacks is taken from those of the system.
pub(crate) struct Painter {
    fonts: Arc<Database>,
}

impl Painter {
    pub(crate) fn new() -> Self {
        let mut fonts = Database::new();
        fonts.load_font_data(notosans::REGULAR_TTF.to_vec());
        fonts.load_font_data(notosans::BOLD_TTF.to_vec());
        fonts.load_system_fonts();
        fonts.set_sans_serif_family("Noto Sans");
        Self { fonts: Arc::new(fonts) }
    }

    /// The bytes of a PNG.
    ///
    /// # Errors
    /// What is wrong with the picture.
    pub(crate) fn paint(&self, svg: &str) -> Result<Vec<u8>, String> {
        let options = Options { fontdb: self.fonts.clone(), font_family: "Noto Sans".into(), ..Options::default() };
        let tree = Tree::from_str(svg, &options).map_err(|e| format!("the picture cannot be read: {e}"))?;
        let size = tree.size().to_int_size().scale_by(SCALE).ok_or("the picture is too large")?;
        let mut pixels = Pixmap::new(size.width(), size.height()).ok_or("the picture is too large")?;
        resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
        pixels.encode_png().map_err(|e| format!("the picture cannot be written: {e}"))
    }
}
