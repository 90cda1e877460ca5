//! The figures the product promises: requests, connections and token calls.

use crate::support::on_every_git;

#[test]
fn a_warm_token_costs_no_token_call_and_one_connection() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();

        world.bitbucket.clear_requests();
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        assert_eq!(
            world.git_requests(),
            ["GET info/refs", "POST git-upload-pack"]
        );
        assert_eq!(
            (
                world.bitbucket.token_requests().len(),
                world.bitbucket.connections()
            ),
            (0, 1)
        );

        world.bitbucket.clear_requests();
        let tree = world.clone("ws/repo", "tree");
        assert_eq!(
            world.git_requests(),
            [
                "GET info/refs",
                "POST git-upload-pack",
                "POST git-upload-pack"
            ]
        );
        assert_eq!(
            (
                world.bitbucket.token_requests().len(),
                world.bitbucket.connections()
            ),
            (0, 1)
        );

        world.commit(&tree, "file", "two\n");
        world.bitbucket.clear_requests();
        world.git(["push", "-q"]).within(&tree).ok();
        assert_eq!(
            world.git_requests(),
            ["GET info/refs", "POST git-receive-pack"]
        );
        assert_eq!(
            (
                world.bitbucket.token_requests().len(),
                world.bitbucket.connections()
            ),
            (0, 1)
        );
    });
}
