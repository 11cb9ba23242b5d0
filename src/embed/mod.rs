//! The server as a part of another program: a router for what the protocol needs, and a layer in
//! front of the program's own routes.
//!
//! ```text
//!  client ──▶ McpOauth::router()   /authorize /consent /token …, and resources with a backend
//!         └─▶ ProtectLayer ──▶ a route of the program, with Identity in the request
//!
//! builder   from settings or text to a server       layer      the check in front of routes
//! resource  a protected resource, as settings       identity   who makes a request
//! upstream  a provider, as settings
//! ```
//!
//! Judged as the command judges its file; refuses a configuration with every problem at once. What
//! runs in the background ends with the last handle, router and layer.

mod builder;
mod identity;
mod layer;
mod resource;
mod upstream;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Problem, Problems};
use crate::gateway::BearerLayer;
use crate::seal::Keys;
use crate::server::{self, Rooms};

pub use self::builder::Builder;
pub use self::identity::{Identity, NotSignedIn, UpstreamToken};
pub use self::layer::{ProtectLayer, ProtectService};
pub use self::resource::Resource;
pub use self::upstream::Upstream;

/// The authorization server inside a program. Clones are handles on the same one.
///
/// Keys are followed and revocations fetched while a handle, a router or a layer lives.
#[derive(Clone)]
pub struct McpOauth {
    inner: Arc<Inner>,
}

struct Inner {
    rooms: Rooms,
    tasks: TaskTracker,
    /// Ends what runs in the background.
    stop: CancellationToken,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration was refused; every problem is listed.
    #[error("the configuration was refused\n{0}")]
    Configuration(Problems),
    /// The server cannot start: keys that cannot be used, most likely, or a store that is not reached.
    #[error("the server cannot start")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// There is no resource at a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no resource at `{path}`; there are: {known}")]
pub struct UnknownResource {
    path: String,
    known: String,
}

impl McpOauth {
    /// Begins a server. [`Builder::build`] says what is wrong with it.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The endpoints of the authorization server, and the gateway for resources with a backend. Has
    /// no fallback and nothing at `/`: both belong to the program.
    ///
    /// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`: without the address of the
    /// peer all clients share one limit.
    pub fn router(&self) -> Router {
        let Rooms { app, gateway, .. } = &self.inner.rooms;
        server::embedded(app, gateway)
    }

    /// The layer that protects routes of the program as the resource with this path.
    ///
    /// # Errors
    ///
    /// [`UnknownResource`] if no resource was configured with exactly this path.
    pub fn layer(&self, path: &str) -> Result<ProtectLayer, UnknownResource> {
        let Rooms { app, gateway, .. } = &self.inner.rooms;
        let bearer = BearerLayer::new(Arc::clone(gateway), path);
        let bearer = bearer.ok_or_else(|| {
            let resources = app.config.resources.iter();
            let known: Vec<_> = resources.map(|it| format!("`{}`", it.path)).collect();
            UnknownResource {
                path: path.to_owned(),
                known: known.join(", "),
            }
        })?;
        Ok(ProtectLayer::new(app, bearer))
    }

    /// What somebody should look at, though the server works.
    pub fn warnings(&self) -> &[Problem] {
        &self.inner.rooms.app.config.warnings
    }

    /// Begins to stop: streams without end finish at their next event, so that clients connect
    /// elsewhere; what still runs after `[shutdown] drain` is cut off. To be called when the program
    /// stops to accept connections.
    pub fn drain(&self) {
        let Rooms { app, stopping, .. } = &self.inner.rooms;
        stopping.drain.cancel();
        let (deadline, left) = (stopping.deadline.clone(), app.config.shutdown.drain);
        match Handle::try_current() {
            Ok(runtime) => {
                let last = async move {
                    tokio::select! {
                        () = tokio::time::sleep(left) => deadline.cancel(),
                        () = deadline.cancelled() => {}
                    }
                };
                self.inner.tasks.spawn_on(last, &runtime);
            }
            // Nobody would wait.
            Err(_) => deadline.cancel(),
        }
    }

    /// Cuts off what still runs, ends what runs in the background, and waits for its end. Upkeep of
    /// the replay store ends when routers and layers are gone too.
    pub async fn shutdown(&self) {
        let Inner { rooms, tasks, stop } = &*self.inner;
        rooms.stopping.drain.cancel();
        rooms.stopping.deadline.cancel();
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }

    /// Puts the handle around what was assembled, and follows the keys.
    fn around(rooms: Rooms) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let keys = Keys::follow(Arc::downgrade(&rooms.app.keys));
        let stopped = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = keys => {}
                () = stopped.cancelled() => {}
            }
        });
        let inner = Inner { rooms, tasks, stop };
        Self {
            inner: Arc::new(inner),
        }
    }
}

impl fmt::Debug for McpOauth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpOauth")
            .field("app", &self.inner.rooms.app)
            .finish_non_exhaustive()
    }
}
