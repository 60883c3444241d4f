use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{
    cli::{DocumentsInstall, DocumentsShow},
    surface::Document,
};

use super::{print, setup, setup::Setup};

pub fn show(args: &DocumentsShow) -> Result<ExitCode> {
    let found = Document::ALL.into_iter().find(|document| document.key() == args.document);
    let Some(document) = found else { bail!("there is no document `{}`: add, remove or list", args.document) };
    print(&document.content());
    Ok(ExitCode::SUCCESS)
}

#[cfg(not(feature = "aws"))]
pub fn install(_: &DocumentsInstall) -> Result<ExitCode> {
    let _ = (setup::runtime, Setup::load);
    bail!("this build has no AWS adapters: build it with the feature `aws`")
}

#[cfg(feature = "aws")]
pub fn install(args: &DocumentsInstall) -> Result<ExitCode> {
    use crate::surface::{
        Cloud,
        aws::{Command, Installed},
    };

    let setup = Setup::load(&args.configured.config)?;
    let Cloud::Aws(aws) = &setup.cloud else { bail!("documents are for `cloud: aws`: a world needs none") };
    let accounts = &setup.config.accounts;
    if let Some(name) = args.account.iter().find(|name| !accounts.contains_key(name.as_str())) {
        bail!("there is no account `{name}` in the configuration");
    }
    let chosen = accounts
        .iter()
        .filter(|(name, _)| args.account.is_empty() || args.account.iter().any(|one| name.as_ref() == one));
    let names = &setup.config.windows_admin.documents;
    let mut fine = true;
    setup::runtime()?.block_on(async {
        for (account, about) in chosen {
            for region in &about.regions {
                for document in Document::ALL {
                    let (name, content) = (names.get(document), document.content());
                    let command = Command::of(&about.id, region, name, &content);
                    let came = match aws.install(&command, args.replace).await {
                        Ok(Installed::Same) => "is there".to_owned(),
                        Ok(Installed::Made) => "made".to_owned(),
                        Ok(Installed::Updated) => "updated".to_owned(),
                        Err(fault) => {
                            fine = false;
                            format!("failed: {}", fault.trouble)
                        }
                    };
                    print(&format!("{account} {region} {name}: {came}\n"));
                }
            }
        }
    });
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
