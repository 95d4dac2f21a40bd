//! preface.
