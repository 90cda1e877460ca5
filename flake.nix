{
  description = "git remote helper for Bitbucket with OAuth 2 tokens that never go stale";

  # The programs need Rust 1.89 or later.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "aarch64-darwin"
      ];
      cargo = builtins.fromTOML (builtins.readFile ./Cargo.toml);
      package =
        pkgs:
        pkgs.rustPlatform.buildRustPackage {
          pname = cargo.package.name;
          version = cargo.workspace.package.version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          nativeBuildInputs = [ pkgs.installShellFiles ];
          # The tests need more than one git, and programs that only scripts/test installs.
          doCheck = false;
          postInstall = ''
            $out/bin/git-bbtoken man --directory $out/share/man/man1
            for shell in bash zsh fish; do
              $out/bin/git-bbtoken completions $shell >git-bbtoken.$shell
            done
            installShellCompletion git-bbtoken.bash git-bbtoken.zsh
            install -Dm644 -t $out/share/fish/vendor_conf.d git-bbtoken.fish
          '';
          meta = {
            description = cargo.package.description;
            homepage = cargo.package.repository;
            license = [
              pkgs.lib.licenses.mit
              pkgs.lib.licenses.asl20
            ];
            mainProgram = "git-bbtoken";
          };
        };
    in
    {
      packages = nixpkgs.lib.genAttrs systems (system: {
        default = package nixpkgs.legacyPackages.${system};
      });
    };
}
