//! Pins: recovery points that people want kept, by name.

use revkeep_schemas::envelope;
use revkeep_schemas::manifest::PinRecord;
use revkeep_schemas::names::PinName;

use crate::cluster::Cluster;
use crate::error::{ErrorKind, VaultError};
use crate::layout;
use crate::objects::Created;

impl Cluster {
    /// Sets a pin. Once this returns, retention deletes nothing that brings its revision back.
    ///
    /// # Errors
    /// `Refused` when there is another of this name, which stays as it is, or when deletions have begun that the pin is too
    /// late for, and `Retry` while it is being decided what they delete: then it is not set. As the store fails: then it may
    /// be set.
    pub async fn set_pin(&self, name: &PinName, pin: &PinRecord) -> Result<(), VaultError> {
        self.put_pin(name, pin).await?;
        self.holds(name, pin).await
    }

    async fn put_pin(&self, name: &PinName, pin: &PinRecord) -> Result<(), VaultError> {
        let path = layout::pin_path(&self.name, name);
        let asked = layout::pin_identity(self.vault.id, &self.name, name);
        let object = envelope::seal(&asked, &self.vault.writer, &pin.encode());
        let created = self.vault.objects.create(&path, object).await;
        match (created, self.pin(name).await) {
            // The answer may have been lost after the store took it, so what stands there counts.
            (_, Ok(Some(there))) if there == *pin => Ok(()),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(Created::Exists), Ok(_)) => Err(VaultError::new(
                ErrorKind::Refused,
                format!(
                    "the cluster {} has a pin {name} already: take it back first, or give another name",
                    self.name
                ),
            )),
            (Ok(Created::New), Ok(_)) => Err(VaultError::new(
                ErrorKind::Retry,
                format!("put {path}: a conflict in the store; try again"),
            )),
        }
    }

    /// A pin, or `None` if there is none of this name.
    ///
    /// # Errors
    /// `Corrupt` when it is damaged; as the store fails.
    pub async fn pin(&self, name: &PinName) -> Result<Option<PinRecord>, VaultError> {
        let path = layout::pin_path(&self.name, name);
        let Some(object) = self.vault.objects.find(&path).await? else {
            return Ok(None);
        };
        let asked = layout::pin_identity(self.vault.id, &self.name, name);
        envelope::open(&object, &asked)
            .and_then(|body| PinRecord::decode(&body))
            .map(Some)
            .map_err(VaultError::format(path))
    }

    /// The names of all pins, sorted, whether they have expired or not.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn pin_names(&self) -> Result<Vec<PinName>, VaultError> {
        let objects = &self.vault.objects;
        let listed = objects.list(&layout::pins_folder(&self.name)).await?;
        let name = |file: &str| PinName::new(file).ok();
        let mut names: Vec<_> = listed
            .iter()
            .filter_map(|meta| meta.location.filename().and_then(name))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Takes a pin back. Says whether there was one.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn remove_pin(&self, name: &PinName) -> Result<bool, VaultError> {
        let path = layout::pin_path(&self.name, name);
        if self.vault.objects.find(&path).await?.is_none() {
            return Ok(false);
        }
        match self.vault.objects.remove(&path).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use revkeep_schemas::Revision;
    use revkeep_schemas::names::{ClusterName, TimelineId};

    use super::*;
    use crate::vault::Vault;

    #[tokio::test]
    async fn a_pin_is_set_once_and_taken_back() {
        let vault = Vault::create("memory:").await.unwrap();
        let cluster = vault.cluster(&ClusterName::new("c").unwrap());
        let name = PinName::new("before-upgrade").unwrap();
        let mut pin = PinRecord {
            timeline: TimelineId::FIRST,
            revision: Revision(7),
            reason: String::new(),
            created_unix_ms: 1,
            expires_unix_ms: None,
        };
        assert_eq!(cluster.pin(&name).await.unwrap(), None);
        cluster.set_pin(&name, &pin).await.unwrap();
        cluster.set_pin(&name, &pin).await.unwrap();
        assert_eq!(cluster.pin(&name).await.unwrap(), Some(pin.clone()));
        pin.revision = Revision(8);
        let refused = cluster.set_pin(&name, &pin).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused);
        assert_eq!(cluster.pin_names().await.unwrap().len(), 1);
        assert!(cluster.remove_pin(&name).await.unwrap());
        assert!(!cluster.remove_pin(&name).await.unwrap());
        assert_eq!(cluster.pin_names().await.unwrap(), []);
    }
}
