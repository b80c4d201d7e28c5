"""An instance of every error that has a status of its own, with its status and its code as the documentation has them."""

from pathlib import Path

from service.diffusers_remote.query import UnusableQuery
from service.engine.errors import Closed, DeadlineExceeded, DeviceLost, DeviceStuck, DeviceUnusable, Overloaded, TooLarge
from service.formats.decoder_processes.fork_server import DecoderUnavailable
from service.formats.errors import TooBig, TooCostly, Undecodable, Unsupported, Unusable
from service.formats.forms import TooManyParts
from service.formats.json_size import TooManyValues
from service.http import body_memory
from service.http.access.allowance import ConcurrencyExceeded, RateExceeded
from service.http.access.keys import MissingScope, Unauthorized
from service.http.content_coding import Corrupt, Encoded
from service.http.cross_site import OtherSite
from service.http.endpoint import ShuttingDown, Starting, TooLate
from service.http.host_check import UnknownHost
from service.http.nothing_here import NothingHere
from service.http.problems import Malformed
from service.http.receive import BodyTooLarge
from service.inference.catalog import AlreadyLoaded, CatalogError, NoCheckpoint, SeveralWorkers, StillNeeded, UnknownModel
from service.inference.priors import NoSuchLabel, NoSuchPrior
from service.inference.regret_lane import ModelChanged
from service.latents.density import NoDensity
from service.latents.directions import NoDirection
from service.open_inference.errors import AdminOff, BadRequest, NoSuchModel
from service.operations import compress
from service.operations.collection_map import NoPlane
from service.operations.collection_model import ModelNotLoaded, NoSigmaWeight
from service.operations.complete import NotSequences, TooLong
from service.operations.directions import BadSides
from service.operations.manifold import NoSuchDimension
from service.operations.score import NoCalibration, NoSuchScore
from service.operations.traverse import NoKl
from service.rest.parameters import AskedTooMuch, BadParameter
from service.server.errors import HeadTooLarge, SpokeTls, TooManyConnections, TooSlow, TrailersTooLarge
from service.store import errors as refusals
from service.store.filters import BadFilter, UnknownKey
from service.store.interface import Collection, StoreUnusable, UnknownCollection, UnknownItem

DIGITS = Collection("digits", "mnist", "cd" * 32, 20)

ERRORS: list[tuple[Exception, int, str]] = [
    (Undecodable("truncated"), 400, "undecodable"),
    *((error, 400, "malformed_request") for error in (Malformed(), SpokeTls())),
    (Unauthorized(presented=False), 401, "unauthorized"),
    (MissingScope("app", "store"), 403, "missing_scope"),
    (AdminOff(), 403, "admin_off"),
    (BadRequest("the sizes do not add up"), 400, "invalid_request"),
    (Corrupt("half of it is missing"), 400, "undecodable"),
    (NothingHere("/x"), 404, "not_found"),
    *((error, 404, "unknown_model") for error in (UnknownModel("gray", ["grey"]), NoSuchModel("there is no grey.paint"))),
    (NoCheckpoint("gray", Path("/nowhere")), 404, "no_checkpoint"),
    (UnknownCollection("digit", ["digits"]), 404, "unknown_collection"),
    (UnknownItem("digits", "7"), 404, "unknown_item"),
    (refusals.UnknownDirection("digits", "seven", ["sevens"]), 404, "unknown_direction"),
    (refusals.NoPicture("digits", "7"), 404, "no_picture"),
    (TooSlow("head", 10), 408, "too_slow"),
    (AlreadyLoaded("grey"), 409, "already_loaded"),
    (StillNeeded("grey"), 409, "still_needed"),
    (SeveralWorkers(2), 409, "several_workers"),
    (refusals.BadName("/"), 422, "unusable_input"),
    (refusals.ItemsExist("digits", ["7"]), 409, "items_exist"),
    *((error, 409, "model_mismatch") for error in (refusals.ModelMismatch(DIGITS, "ab"), compress.OtherModel("ab", None))),
    (refusals.DirectionsFull("digits", 256), 409, "directions_full"),
    (ModelNotLoaded(DIGITS), 409, "model_not_loaded"),
    (ModelChanged("grey", "its directory has others now"), 409, "model_changed"),
    (NoCalibration("grey", "knn needs a calibration"), 409, "no_calibration"),
    (refusals.ReadOnly("training:grey"), 409, "read_only"),
    (BodyTooLarge(100), 413, "body_too_large"),
    (TooBig("too many"), 413, "too_many_pixels"),
    (TooCostly("too long"), 413, "too_costly"),
    (refusals.SnapshotTooLarge("digits", 7, 9, with_metadata=True), 413, "collection_too_large"),
    (NoDensity("no width"), 422, "no_density"),
    (NoDirection("nothing is left"), 422, "no_direction"),
    *((error, 413, "too_many_items") for error in (TooLarge(5, 4), TooManyParts(4), TooManyValues(5, 4))),
    (refusals.MetadataTooLarge(70_000, 3), 413, "metadata_too_large"),
    *((error, 415, "unsupported_media_type") for error in (Unsupported("what is it"), Encoded("gzip"))),
    *((error, 422, "invalid_parameter") for error in (BadParameter("n: no"), NoPlane("one dimension"), NoKl("mnist"))),
    *((error, 422, "invalid_parameter") for error in (NoSuchDimension("mnist", 20, 20), NoSigmaWeight("l2"))),
    *((error, 422, "unusable_input") for error in (Unusable("wrong shape"), refusals.BadItem("no"), BadSides("empty"))),
    *((error, 504, "deadline_exceeded") for error in (TooLate(), DeadlineExceeded("late"))),
    (NoSuchScore("grey", "nll", ("knn", "deviance")), 422, "invalid_parameter"),
    (NotSequences("grey"), 422, "unusable_model"),
    (TooLong("beginning 0 has 7 steps"), 422, "invalid_parameter"),
    (UnusableQuery("height is given twice"), 422, "invalid_parameter"),
    (NoSuchPrior("the model 'grey' has no vamp prior"), 422, "no_such_prior"),
    (NoSuchLabel("the model 'grey' has no label '7'"), 422, "no_such_label"),
    (BadFilter("no"), 422, "invalid_filter"),
    (UnknownKey("no"), 409, "unknown_key"),
    (AskedTooMuch("n", 5, 4), 422, "too_many_items"),
    (OtherSite(), 403, "other_site"),
    *((error, 422, "unusable_model") for error in (CatalogError("cannot load"), DeviceUnusable("no such engine"))),
    (Overloaded(0.2), 429, "queue_full"),
    (RateExceeded("app", 10, 0.1), 429, "rate_exceeded"),
    (ConcurrencyExceeded("app", 2), 429, "concurrency_exceeded"),
    (body_memory.MemoryFull(), 429, "memory"),
    (UnknownHost("evil.example"), 421, "unknown_host"),
    (HeadTooLarge(1024, 10), 431, "headers_too_large"),
    (TrailersTooLarge(1024), 431, "trailers_too_large"),
    (TooManyConnections(10), 503, "too_many_connections"),
    (Closed("draining"), 503, "draining"),
    (DeviceLost("gone"), 503, "device_lost"),
    (DeviceStuck(31), 503, "device_stuck"),
    (DecoderUnavailable("too many processes"), 503, "decoder_unavailable"),
    (Starting(), 503, "starting"),
    (ShuttingDown(), 503, "draining"),
    (refusals.StoreBusy("a lock"), 503, "busy"),
    (refusals.StoreUnavailable("away"), 503, "store_unavailable"),
    (StoreUnusable("corrupt"), 503, "store_unusable"),
    (refusals.StoreFull(2, 1), 507, "store_full"),
    (refusals.PicturesFull(2, 1), 507, "pictures_full"),
    (refusals.DiskFull("no room"), 507, "disk_full"),
]
