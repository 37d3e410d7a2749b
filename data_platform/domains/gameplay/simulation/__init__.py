"""The pretend game: `game` runs it, the others follow a day's path: `players` and `campaigns` (state), `world`
(sessions, changes of tables), `events` (in sessions), `dirt` (what goes wrong), `truth` (what a platform must count).
Not here: how lines become files (simulation/writer), what is sold (commerce)."""
