//! A table of whose log nothing is deleted while deltalake works on it.
//!
//! Its `optimize` and `vacuum` take only the metadata of the commit properties that they are given: after their commits
//! they clean the log up by the table's own age, 30 days unless it says otherwise, and that is not what the stage says.

use std::fmt;
use std::future::ready;
use std::sync::Arc;

use alluvium_engine::async_trait;
use deltalake::logstore::default_logstore;
use deltalake::{DeltaTable, ObjectMeta, ObjectStore, Path};
use futures::stream::{BoxStream, StreamExt};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

/// The same table, as of the same version.
pub(crate) fn keeping_its_log(table: &DeltaTable) -> DeltaTable {
    let log = table.log_store();
    let store = Arc::new(Keeping(log.object_store(None)));
    let config = log.config();
    let mut same =
        DeltaTable::new(default_logstore(store, log.root_object_store(None), config.location(), config.options()));
    same.state.clone_from(&table.state);
    same
}

/// A table's folder.
#[derive(Debug)]
struct Keeping(Arc<dyn ObjectStore>);

impl fmt::Display for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Keeping {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let log = Path::from("_delta_log");
        let others = locations.filter(move |path| ready(!path.as_ref().is_ok_and(|path| path.prefix_matches(&log))));
        self.0.delete_stream(others.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
