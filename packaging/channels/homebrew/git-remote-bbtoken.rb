class GitRemoteBbtoken < Formula
  desc "Git remote helper for Bitbucket with OAuth 2 tokens"
  homepage "@repository@"
  version "@version@"
  license any_of: ["MIT", "Apache-2.0"]

  # The release has no program for macOS, because it has not been run there.
  on_macos do
    url "@repository@.git", tag: "v@version@", revision: "@revision@"
    depends_on "rust" => :build
  end

  on_linux do
    on_intel do
      url "@files@/git-remote-bbtoken-@version@-linux-x86_64.tar.gz"
      sha256 "@sha256@"
    end
    on_arm do
      url "@files@/git-remote-bbtoken-@version@-linux-aarch64.tar.gz"
      sha256 "@sha256@"
    end
  end

  def install
    if OS.mac?
      system "cargo", "install", *std_cargo_args
      system bin/"git-bbtoken", "man", "--directory", man1
      generate_completions_from_executable(bin/"git-bbtoken", "completions", shells: [:bash, :zsh])
      fish = Utils.safe_popen_read(bin/"git-bbtoken", "completions", "fish")
      (share/"fish/vendor_conf.d/git-bbtoken.fish").write fish
    else
      prefix.install "bin", "share"
    end
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/git-bbtoken --version")
  end
end
