"""The relay: collects signed submissions and posts those of an iteration in one transaction. Nobody need trust it."""
