//! The surfaces: what a grant may say about each, and the adapters that read and write it on a cloud.
//!
//! A new surface is one folder (and its `mod` line), one line in `SURFACES`, one example grant and one scenario.

use std::{collections::BTreeMap, sync::Arc};

use crate::model::{self, Ask, Fields, Read, Target, Write};

mod iam_group;
mod iam_policy;
pub mod names;
mod permission_set;
#[cfg(test)]
mod tests;
mod windows_admin;
pub mod world;

use world::{Adapter, Realm, World};

/// The readers of one cloud, by surface.
pub type Readers = BTreeMap<&'static str, Arc<dyn Read>>;

/// The writers of one cloud, by surface. What is built without them cannot write.
pub type Writers = BTreeMap<&'static str, Arc<dyn Write>>;

/// What the registry knows of a surface.
struct Surface {
    target: fn() -> Box<dyn Target>,
    reader: fn(&World) -> Arc<dyn Read>,
    writer: fn(&World) -> Arc<dyn Write>,
}

const SURFACES: &[Surface] = &[
    surface::<windows_admin::WindowsAdmin>(),
    surface::<iam_policy::IamPolicy>(),
    surface::<iam_group::IamGroup>(),
    surface::<permission_set::PermissionSet>(),
];

const fn surface<R: Realm + Default + 'static>() -> Surface {
    Surface {
        target: || Box::new(R::default()),
        reader: |world| Arc::new(Adapter::<R>::new(world)),
        writer: |world| Arc::new(Adapter::<R>::new(world)),
    }
}

/// Every surface's pure half.
pub fn targets() -> Vec<Box<dyn Target>> {
    SURFACES.iter().map(|surface| (surface.target)()).collect()
}

/// Every surface's reader on a world.
pub fn world_readers(world: &World) -> Readers {
    SURFACES.iter().map(|surface| ((surface.target)().surface(), (surface.reader)(world))).collect()
}

/// Every surface's writer on a world.
pub fn world_writers(world: &World) -> Writers {
    SURFACES.iter().map(|surface| ((surface.target)().surface(), (surface.writer)(world))).collect()
}

/// An ask of fields that are in canonical spelling.
fn ask(surface: &str, fields: Fields) -> Ask {
    Ask { surface: surface.into(), fields: fields.into_iter().map(|(name, given)| (name.into(), given)).collect() }
}
