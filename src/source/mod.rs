//! Git: the system's `git` fetches in a child process, `git2` reads. Nothing is ever checked out.
