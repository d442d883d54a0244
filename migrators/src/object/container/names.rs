//! Which container at the target stands for which of the source.

/// A container, and what those of its segments are called.
#[derive(Clone, Debug)]
pub struct Names {
    pub from: String,
    pub to: String,
}

impl Names {
    pub fn new(from: &str, to: &str) -> Self {
        Self { from: from.to_owned(), to: to.to_owned() }
    }

    /// Segments usually lie in `NAME_segments` or the like, which is renamed as NAME is; in others they keep their place.
    pub fn of(&self, container: &str) -> String {
        match container.strip_prefix(&self.from) {
            Some(rest) => format!("{}{rest}", self.to),
            None => container.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_of_segments_is_renamed_with_its_own() {
        let names = Names::new("photos", "pictures");
        assert_eq!(names.of("photos"), "pictures");
        assert_eq!(names.of("photos_segments"), "pictures_segments");
        assert_eq!(names.of("shared"), "shared");
        assert_eq!(Names::new("photos", "photos").of("photos+segments"), "photos+segments");
    }
}
