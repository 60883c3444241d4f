//! The surfaces: what a grant may say about each, and the adapters that read and write it on a cloud.
//!
//! A new surface is one folder (and its `mod` line), one line in `SURFACES`, one example grant and one scenario.

use std::{collections::BTreeMap, sync::Arc};

use crate::model::{self, Account, Ask, Clock, Fields, Read, Target, Write};

mod act;
#[cfg(feature = "aws")]
pub mod aws;
mod iam_group;
mod iam_policy;
pub mod names;
mod permission_set;
#[cfg(test)]
mod tests;
mod windows_admin;
pub mod world;

pub use permission_set::Settings as IdentityCenter;
pub use windows_admin::{Document, Settings as WindowsAdmin};

use world::{Realm, World};

/// The surfaces' own blocks of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    pub windows_admin: WindowsAdmin,
    /// Its account by its 12 digits.
    pub permission_set: Option<IdentityCenter>,
}

/// Where access is given.
#[derive(Clone)]
pub enum Cloud {
    World(World),
    #[cfg(feature = "aws")]
    Aws(aws::Aws),
}

/// The readers of one cloud, by surface.
pub type Readers = BTreeMap<&'static str, Arc<dyn Read>>;

/// The writers of one cloud, by surface. What is built without them cannot write.
pub type Writers = BTreeMap<&'static str, Arc<dyn Write>>;

/// What the registry knows of a surface.
struct Surface {
    target: fn() -> Box<dyn Target>,
    world: Ports<World>,
    #[cfg(feature = "aws")]
    aws: Ports<aws::Aws>,
}

/// How a surface's adapters on one kind of cloud are made.
struct Ports<C> {
    reader: fn(&C) -> Arc<dyn Read>,
    writer: fn(&C) -> Arc<dyn Write>,
}

const SURFACES: &[Surface] = &[
    Surface {
        target: target::<windows_admin::WindowsAdmin>,
        world: on_world::<windows_admin::WindowsAdmin>(),
        #[cfg(feature = "aws")]
        aws: Ports {
            reader: |aws| Arc::new(windows_admin::aws::Hosts::new(aws)),
            writer: |aws| Arc::new(windows_admin::aws::Hosts::new(aws)),
        },
    },
    surface::<iam_policy::IamPolicy>(),
    surface::<iam_group::IamGroup>(),
    surface::<permission_set::PermissionSet>(),
];

#[cfg(feature = "aws")]
const fn surface<S: Realm + aws::Remote>() -> Surface {
    let aws = Ports {
        reader: |aws| Arc::new(aws::Adapter::<S>::new(aws)),
        writer: |aws| Arc::new(aws::Adapter::<S>::new(aws)),
    };
    Surface { target: target::<S>, world: on_world::<S>(), aws }
}

#[cfg(not(feature = "aws"))]
const fn surface<S: Realm + Default + 'static>() -> Surface {
    Surface { target: target::<S>, world: on_world::<S>() }
}

fn target<S: Target + Default + 'static>() -> Box<dyn Target> {
    Box::new(S::default())
}

const fn on_world<S: Realm + Default + 'static>() -> Ports<World> {
    Ports {
        reader: |world| Arc::new(world::Adapter::<S>::new(world)),
        writer: |world| Arc::new(world::Adapter::<S>::new(world)),
    }
}

/// Every surface's pure half.
pub fn targets() -> Vec<Box<dyn Target>> {
    SURFACES.iter().map(|surface| (surface.target)()).collect()
}

impl Cloud {
    /// Every surface's reader.
    pub fn readers(&self) -> Readers {
        let reader = |surface: &Surface| match self {
            Self::World(world) => (surface.world.reader)(world),
            #[cfg(feature = "aws")]
            Self::Aws(aws) => (surface.aws.reader)(aws),
        };
        SURFACES.iter().map(|surface| ((surface.target)().surface(), reader(surface))).collect()
    }

    /// Every surface's writer.
    pub fn writers(&self) -> Writers {
        let writer = |surface: &Surface| match self {
            Self::World(world) => (surface.world.writer)(world),
            #[cfg(feature = "aws")]
            Self::Aws(aws) => (surface.aws.writer)(aws),
        };
        SURFACES.iter().map(|surface| ((surface.target)().surface(), writer(surface))).collect()
    }

    /// Takes what a changed configuration says of accounts and surfaces. A world asks for neither.
    pub fn configure<'a>(&self, accounts: impl Iterator<Item = &'a Account>, settings: &Settings) {
        match self {
            Self::World(_) => drop((accounts, settings)),
            #[cfg(feature = "aws")]
            Self::Aws(aws) => aws.configure(accounts, settings),
        }
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        match self {
            Self::World(world) => world.clock(),
            #[cfg(feature = "aws")]
            Self::Aws(aws) => aws.clock(),
        }
    }
}

/// An ask of fields that are in canonical spelling.
fn ask(surface: &str, fields: Fields) -> Ask {
    Ask { surface: surface.into(), fields: fields.into_iter().map(|(name, given)| (name.into(), given)).collect() }
}
