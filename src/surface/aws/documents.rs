//! SSM documents: bringing ours into an account, and running no other.

use aws_sdk_ssm::types::{DocumentFormat, DocumentType, Tag};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    super::model::{Trouble, TroubleKind},
    Aws, Command, Fault,
};

/// A document in an account and region, as it was when we looked: no other content is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    pub name: String,
    pub version: String,
    pub hash: String,
}

/// What bringing a document into an account came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installed {
    /// It was there already, to the letter.
    Same,
    Made,
    /// It was another version of ours, or somebody else's that was to be replaced.
    Updated,
}

impl Aws {
    /// The document as it is in the account, if it is ours to the letter.
    pub(super) async fn pinned(&self, command: &Command<'_>) -> Result<Pinned, Fault> {
        let slot = self.shared.documents.lock().await.entry(key(command)).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(pinned) = &*slot {
            return Ok(pinned.clone());
        }
        let answer = self.call(command.call("ssm:DescribeDocument"), |session, region| {
            session.at(region).ssm.describe_document().name(command.name).send()
        });
        let install = format!(
            "bring it there with `grantd documents install` ({} in {}, {})",
            command.name, command.account, command.region
        );
        let document = answer.await.map_err(|mut fault| {
            if fault.missing() {
                fault.trouble = Trouble::new(TroubleKind::Denied, format!("the SSM document is not there: {install}"));
            }
            fault
        })?;
        let document = document.document.unwrap_or_else(|| aws_sdk_ssm::types::DocumentDescription::builder().build());
        let version = document.document_version.unwrap_or_default();
        let hash = document.hash.unwrap_or_default();
        if hash != sha256(command.content) && !self.same(command, &version).await? {
            let detail = format!("the SSM document is not the one of this grantd, and is not run: {install}");
            return Err(Trouble::new(TroubleKind::Denied, detail).into());
        }
        let pinned = Pinned { name: command.name.to_owned(), version, hash };
        *slot = Some(pinned.clone());
        Ok(pinned)
    }

    /// Whether a version says the same, however it is spaced.
    async fn same(&self, command: &Command<'_>, version: &str) -> Result<bool, Fault> {
        let answer = self.call(command.call("ssm:GetDocument"), |session, region| {
            session.at(region).ssm.get_document().name(command.name).document_version(version).send()
        });
        let content = answer.await?.content.unwrap_or_default();
        let read = |text: &str| serde_json::from_str::<Value>(text).ok();
        Ok(read(&content).is_some_and(|theirs| Some(theirs) == read(command.content)))
    }

    pub(super) async fn unpin(&self, command: &Command<'_>) {
        self.shared.documents.lock().await.remove(&key(command));
    }

    /// Brings a document into an account and region. One of the same name that is not grantd's stays, unless it is to be
    /// replaced.
    pub async fn install(&self, command: &Command<'_>, replace: bool) -> Result<Installed, Fault> {
        let described = self.call(command.call("ssm:DescribeDocument"), |session, region| {
            session.at(region).ssm.describe_document().name(command.name).send()
        });
        let there = match described.await {
            Ok(answer) => answer.document,
            Err(fault) if fault.missing() => None,
            Err(fault) => return Err(fault),
        };
        let Some(there) = there else {
            let tag = Tag::builder().key("grantd").value(env!("CARGO_PKG_VERSION")).build();
            let tag = tag.map_err(|error| Trouble::new(TroubleKind::Broken, error.to_string()))?;
            let made = self.call(command.call("ssm:CreateDocument"), |session, region| {
                let call = session.at(region).ssm.create_document().name(command.name).content(command.content);
                let call = call.document_type(DocumentType::Command).document_format(DocumentFormat::Json);
                call.target_type("/AWS::EC2::Instance").tags(tag.clone()).send()
            });
            made.await?;
            return Ok(Installed::Made);
        };
        let version = there.document_version.unwrap_or_default();
        if there.hash.as_deref() == Some(&sha256(command.content)) || self.same(command, &version).await? {
            return Ok(Installed::Same);
        }
        if !replace && !there.description.unwrap_or_default().starts_with("grantd: ") {
            let detail = format!(
                "there is a document {} in {}, {}, that is not grantd's: give ours another name under \
                 `windows-admin: documents`, or run `grantd documents install --replace`",
                command.name, command.account, command.region
            );
            return Err(Trouble::new(TroubleKind::Denied, detail).into());
        }
        let updated = self.call(command.call("ssm:UpdateDocument"), |session, region| {
            let call = session.at(region).ssm.update_document().name(command.name).content(command.content);
            call.document_version("$LATEST").document_format(DocumentFormat::Json).send()
        });
        let version = updated.await?.document_description.and_then(|document| document.document_version);
        let version = version.unwrap_or_default();
        let chosen = self.call(command.call("ssm:UpdateDocumentDefaultVersion"), |session, region| {
            let call = session.at(region).ssm.update_document_default_version();
            call.name(command.name).document_version(&version).send()
        });
        chosen.await?;
        self.unpin(command).await;
        Ok(Installed::Updated)
    }
}

fn key(command: &Command<'_>) -> String {
    format!("{}/{}/{}", command.account, command.region, command.name)
}

pub fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
