//! Objects on a real S3 server.

use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::runtime::Runtime;

/// A folder of a real S3 server's, for one test.
pub struct Bucket {
    name: String,
    /// The server.
    pub endpoint: String,
}

impl Bucket {
    pub fn new(name: &str) -> Self {
        let endpoint = std::env::var("AWS_ENDPOINT_URL")
            .expect("no S3 server: run the tests with `tests/run`, which starts one, or below `tests/s3`");
        Self { name: super::unique(name), endpoint }
    }

    /// The URL of something in the folder.
    pub fn url(&self, path: &str) -> String {
        format!("s3://alluvium/{}/{path}", self.name)
    }

    fn store(&self) -> (AmazonS3, Runtime) {
        let store = AmazonS3Builder::from_env().with_bucket_name("alluvium").build().unwrap();
        (store, tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap())
    }

    fn path(&self, path: &str) -> Path {
        Path::parse(format!("{}/{path}", self.name)).unwrap()
    }

    pub fn put(&self, path: &str, content: impl Into<Vec<u8>>) -> &Self {
        let (store, runtime) = self.store();
        runtime.block_on(store.put(&self.path(path), content.into().into())).unwrap();
        self
    }

    /// Writes many objects, in any order.
    pub fn put_all(&self, all: impl IntoIterator<Item = (String, String)>) -> &Self {
        let (store, runtime) = self.store();
        let puts = all.into_iter().map(|(path, content)| {
            let (store, path) = (&store, self.path(&path));
            async move { store.put(&path, content.into()).await.map(drop) }
        });
        let put = futures::stream::iter(puts).buffer_unordered(32).try_collect::<()>();
        runtime.block_on(put).unwrap();
        self
    }

    pub fn delete(&self, path: &str) -> &Self {
        let (store, runtime) = self.store();
        runtime.block_on(store.delete(&self.path(path))).unwrap();
        self
    }

    /// Writes an object as large writers do: in parts, all of them 5 MiB but for the last.
    pub fn put_in_parts(&self, path: &str, content: &[u8]) -> &Self {
        let (store, runtime) = self.store();
        runtime.block_on(async {
            let mut upload = store.put_multipart(&self.path(path)).await.unwrap();
            for part in content.chunks(5 << 20) {
                upload.put_part(part.to_vec().into()).await.unwrap();
            }
            upload.complete().await.unwrap();
        });
        self
    }

    /// Size and version of an object.
    pub fn head(&self, path: &str) -> ObjectMeta {
        let (store, runtime) = self.store();
        runtime.block_on(store.head(&self.path(path))).unwrap()
    }

    /// Paths below the folder.
    pub fn list(&self, path: &str) -> Vec<String> {
        let (store, runtime) = self.store();
        let all: Vec<_> = runtime.block_on(store.list(Some(&self.path(path))).try_collect()).unwrap();
        let below = |meta: ObjectMeta| meta.location.to_string()[self.name.len() + 1..].to_owned();
        let mut names: Vec<String> = all.into_iter().map(below).collect();
        names.sort();
        names
    }
}
